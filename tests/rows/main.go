// Command rows prints docs/requirements.tsv as coverage: how many requirement
// rows are proven, partly proven and open, and by which tests.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"strings"
)

func main() {
	file := flag.String("file", "docs/requirements.tsv", "the map from requirement rows to tests")
	all := flag.Bool("all", false, "list open rows too")
	flag.Parse()
	if err := run(*file, *all); err != nil {
		fmt.Fprintln(os.Stderr, "rows:", err)
		os.Exit(1)
	}
}

func run(file string, all bool) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	count := map[string]int{}
	in := bufio.NewScanner(f)
	for in.Scan() {
		cols := strings.Split(in.Text(), "\t")
		if len(cols) != 4 || strings.HasPrefix(cols[0], "#") {
			continue
		}
		count[cols[1]]++
		if cols[1] != "open" || all {
			fmt.Printf("%-4s %-7s %-52.52s %s\n", cols[0], cols[1], cols[3], cols[2])
		}
	}
	total := count["proven"] + count["partly"] + count["open"]
	fmt.Printf("\n%d rows: %d proven, %d partly, %d open\n", total, count["proven"], count["partly"], count["open"])
	return in.Err()
}
