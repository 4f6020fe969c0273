// Command init is PID 1 of the appliance, and, without rights, the process
// that PID 1 has speak with a cloud. Everything it does is in appliance/boot.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime"

	"ringfence/appliance/boot"
)

func main() {
	if os.Getpid() != 1 && len(os.Args) > 1 {
		if err := boot.SpeakWithCloud(context.Background(), os.Args[1:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "init: only for the kernel to start, as process 1 of the appliance")
		os.Exit(1)
	}
	// Threads that are changed for good and thrown away (package supervise)
	// must not be the first one.
	runtime.LockOSThread()
	err := boot.Run()
	// PID 1 must not end while there is hope; when the machine cannot be
	// restarted either, a panic of the kernel does it.
	fmt.Fprintln(os.Stderr, "init:", err)
	os.Exit(1)
}
