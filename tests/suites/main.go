// Command suites runs the test suites of tests/suites.tsv one after another,
// holds each to its time budget, and closes with the counts CI reads.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// suite is one line of suites.tsv.
type suite struct {
	name    string
	drill   bool
	budget  time.Duration
	command string
}

// result counts what a suite ran. A failed package that named no test (it did
// not build, say) counts as one failure.
type result struct {
	passed, failed, skipped int
	took                    time.Duration
	err                     error
}

func main() {
	drills := flag.Bool("drills", false, "run the long drills instead")
	only := flag.String("only", "", "run just the suites whose name contains this")
	list := flag.String("list", "tests/suites.tsv", "the list of suites")
	logs := flag.String("logs", "out/logs", "folder for each suite's whole output")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := run(ctx, *list, *logs, *only, *drills)
	if err != nil {
		fmt.Fprintln(os.Stderr, "suites:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func run(ctx context.Context, list, logs, only string, drills bool) (bool, error) {
	suites, err := read(list)
	if err != nil {
		return false, err
	}
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return false, err
	}
	var sum result
	good := true
	fmt.Printf("%-12s %8s %8s %8s %9s %9s\n", "suite", "passed", "failed", "skipped", "took", "budget")
	for _, s := range suites {
		if s.drill != drills || !strings.Contains(s.name, only) {
			continue
		}
		r := s.run(ctx, logs)
		verdict := ""
		switch {
		case r.err != nil:
			verdict = "  " + r.err.Error()
		case r.passed+r.failed == 0:
			verdict = "  ran no test"
		case r.took > s.budget:
			verdict = "  over its budget"
		}
		fmt.Printf("%-12s %8d %8d %8d %8.0fs %8.0fs%s\n", s.name, r.passed, r.failed, r.skipped, r.took.Seconds(), s.budget.Seconds(), verdict)
		good = good && verdict == "" && r.failed == 0
		sum.passed, sum.failed, sum.skipped = sum.passed+r.passed, sum.failed+r.failed, sum.skipped+r.skipped
		if ctx.Err() != nil {
			return false, fmt.Errorf("interrupted in suite %s", s.name)
		}
	}
	fmt.Printf("\n%d passed, %d failed, %d skipped\n", sum.passed, sum.failed, sum.skipped)
	return good && sum.passed > 0, nil
}

// read parses lines of: name, tier (test or drill), budget in seconds, command.
func read(file string) ([]suite, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []suite
	in := bufio.NewScanner(f)
	for n := 1; in.Scan(); n++ {
		if in.Text() == "" || strings.HasPrefix(in.Text(), "#") {
			continue
		}
		cols := strings.SplitN(in.Text(), "\t", 4)
		if len(cols) != 4 {
			return nil, fmt.Errorf("%s:%d: want name, tier, seconds, command", file, n)
		}
		seconds, err := strconv.Atoi(cols[2])
		if err != nil || cols[1] != "test" && cols[1] != "drill" {
			return nil, fmt.Errorf("%s:%d: tier %q, budget %q", file, n, cols[1], cols[2])
		}
		all = append(all, suite{cols[0], cols[1] == "drill", time.Duration(seconds) * time.Second, cols[3]})
	}
	return all, in.Err()
}

func (s suite) run(ctx context.Context, logs string) (r result) {
	log, err := os.Create(filepath.Join(logs, s.name+".log"))
	if err != nil {
		return result{err: err}
	}
	defer log.Close()
	// A suite far over its budget hangs; it is ended so that the others' counts are seen.
	ctx, cancel := context.WithTimeout(ctx, 2*s.budget)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", s.command)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return result{err: err}
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return result{err: err}
	}
	r = count(io.TeeReader(out, log), s.name)
	err = cmd.Wait()
	r.took = time.Since(start)
	switch {
	case ctx.Err() == context.DeadlineExceeded:
		r.err = fmt.Errorf("ended at twice its budget, see %s", log.Name())
	case err != nil && r.failed == 0:
		r.err = fmt.Errorf("%w, see %s", err, log.Name())
	}
	return r
}

var plain = regexp.MustCompile(`^(?:\w+: )?(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$`)

// count reads `go test -json` events, or a plain "N passed, N failed" line,
// and prints failures as they come.
func count(in io.Reader, name string) (r result) {
	scan := bufio.NewScanner(in)
	scan.Buffer(nil, 4<<20)
	info, err := os.Stdout.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	failing := map[string]bool{}
	output := map[string][]string{}
	for scan.Scan() {
		line := scan.Text()
		if m := plain.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			r.passed += number(m[1])
			r.failed += number(m[2])
			r.skipped += number(m[3])
			continue
		}
		var e struct{ Action, Package, Test, Output string }
		if json.Unmarshal([]byte(line), &e) != nil {
			continue
		}
		key := e.Package + " " + e.Test
		switch e.Action {
		case "output":
			if kept := output[key]; len(kept) < 200 {
				output[key] = append(kept, e.Output)
			}
			continue
		case "pass", "skip", "fail":
			r.tally(e.Action, e.Package, e.Test, failing, output[key])
		default:
			continue
		}
		delete(output, key)
		if !terminal {
			continue
		}
		fmt.Printf("\r%-12s %8d %8d %8d", name, r.passed, r.failed, r.skipped)
	}
	return r
}

func (r *result) tally(action, pkg, test string, failing map[string]bool, output []string) {
	switch {
	case action == "pass" && test != "":
		r.passed++
	case action == "skip" && test != "":
		r.skipped++
		fmt.Printf("skipped %s.%s: %s\n", pkg, test, reason(output))
	case action == "fail" && test != "":
		r.failed++
		failing[pkg] = true
		fmt.Printf("FAILED %s.%s\n%s", pkg, test, strings.Join(output, ""))
	case action == "fail" && !failing[pkg]:
		r.failed++
		fmt.Printf("FAILED %s\n%s", pkg, strings.Join(output, ""))
	}
}

func reason(output []string) string {
	for _, l := range output {
		if !strings.HasPrefix(strings.TrimSpace(l), "=== ") && !strings.HasPrefix(strings.TrimSpace(l), "--- ") {
			return strings.TrimSpace(l)
		}
	}
	return ""
}

func number(s string) int { n, _ := strconv.Atoi(s); return n }
