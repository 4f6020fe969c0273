// Command deaf stands in for a pbxd that starts and never reports health.
package main

import "time"

func main() {
	for {
		time.Sleep(time.Hour)
	}
}
