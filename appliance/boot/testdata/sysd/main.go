// Command sysd stands in for the service of that name.
package main

import "ringfence/appliance/boot/testdata/fake"

func main() { fake.Main("sysd") }
