package supervise

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// TestMain lets the test binary play the services under test.
func TestMain(m *testing.M) {
	switch role := os.Getenv("RINGFENCE_TEST_ROLE"); role {
	case "":
		os.Exit(m.Run())
	case "service":
		playService()
	case "init":
		playInit()
	case "orphans":
		playOrphans()
	default:
		fmt.Println("unknown role", role)
		os.Exit(2)
	}
}

// playService says what it is, is ready, and pings until asked to be silent.
func playService() {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		fmt.Print(line)
	}
	score, _ := os.ReadFile("/proc/self/oom_score_adj")
	fmt.Printf("OOM: %s", score)
	var files unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &files)
	fmt.Printf("Files: %d %d\n", files.Cur, files.Max)
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady+"\nSTATUS=serving\nX_CONSOLE={}")
	interval, _ := daemon.SdWatchdogEnabled(false)
	fmt.Println("Watchdog:", interval)
	if os.Getenv("SILENT") != "" || interval == 0 {
		time.Sleep(time.Hour)
	}
	for {
		time.Sleep(interval / 3)
		_, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog)
	}
}

type recorder struct {
	mu    sync.Mutex
	lines []string
}

func (r *recorder) add(_, line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
}

// field returns the value of the newest "name: value" line.
func (r *recorder) field(name string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.lines) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(r.lines[i], name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return "(no " + name + ")"
}

// live returns a supervisor of real processes with its notify socket.
func live(t *testing.T, rec *recorder) (*Supervisor, string, bool) {
	t.Helper()
	dir, err := os.MkdirTemp("", "sv") // socket paths are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "notify")
	root := os.Geteuid() == 0
	n, err := ListenNotify(path, -1, quiet())
	if err != nil {
		t.Fatal(err)
	}
	if root {
		_ = os.Chmod(dir, 0o755)
		_ = os.Chmod(path, 0o666)
	}
	v := New(Options{Spawner: Exec{Notify: path, Unprivileged: !root}, Logger: quiet(), Output: rec.add})
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- n.Serve(ctx, v.Deliver) }()
	t.Cleanup(func() {
		v.Stop()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return v, path, root
}

func self(role string, more ...string) Service {
	return Service{Name: role, Path: "/proc/self/exe", Env: append([]string{"RINGFENCE_TEST_ROLE=" + role}, more...), UID: 65534, GID: 65534, StopTimeout: 3 * time.Second}
}

// executable copies the test binary to where nobody may run it from.
func executable(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "svx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "service")
	// A process that another test starts meanwhile would hold the file open for
	// writing until it runs its own program: "text file busy".
	syscall.ForkLock.RLock()
	err = os.WriteFile(path, data, 0o755)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func waitReady(t *testing.T, v *Supervisor, name string, limit time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := v.WaitReady(ctx, name); err != nil {
		t.Fatalf("%s is not ready: %+v", name, v.Status())
	}
}

// TestRealServiceRunsWithWhatItMayHave starts a real program and lets it tell
// its user, capabilities, limits and environment.
func TestRealServiceRunsWithWhatItMayHave(t *testing.T) {
	t.Parallel()
	var rec recorder
	v, _, root := live(t, &rec)
	s := self("service")
	s.Path = executable(t)
	s.Ambient = []uintptr{unix.CAP_NET_BIND_SERVICE, unix.CAP_NET_ADMIN}
	mayLimit := hasCapability(t, unix.CAP_SYS_RESOURCE) // missing in some containers
	if mayLimit {
		s.Limits = []Limit{{unix.RLIMIT_NOFILE, 333}}
	}
	s.OOMScore = 500
	s.Watchdog = 30 * time.Second
	start(t, v, s)
	waitReady(t, v, "service", 20*time.Second)
	deadline := time.Now().Add(10 * time.Second)
	for rec.field("Watchdog") != "15s" && time.Now().Before(deadline) && rec.field("Watchdog") != "30s" {
		time.Sleep(10 * time.Millisecond)
	}
	want := map[string]string{"NoNewPrivs": "1", "Watchdog": "30s"}
	if root {
		caps := fmt.Sprintf("%016x", 1<<unix.CAP_NET_BIND_SERVICE|1<<unix.CAP_NET_ADMIN)
		for _, set := range []string{"CapEff", "CapPrm", "CapBnd", "CapAmb"} {
			want[set] = caps
		}
		want["Uid"], want["Groups"] = "65534\t65534\t65534\t65534", "65534"
		want["OOM"] = "500"
		if mayLimit {
			want["Files"] = "333 333"
		}
	}
	for name, value := range want {
		if got := rec.field(name); got != value {
			t.Errorf("%s: got %q, want %q", name, got, value)
		}
	}
	if s := v.Status()[0]; s.Text != "serving" || s.Restarts != 0 {
		t.Errorf("status %+v", s)
	}
}

func hasCapability(t *testing.T, c int) bool {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "CapEff:")
	mask, _, _ := strings.Cut(strings.TrimSpace(rest), "\n")
	set, err := strconv.ParseUint(mask, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return set&(1<<c) != 0
}

// TestRestartWithinTwoSeconds kills a real service from outside.
func TestRestartWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	var rec recorder
	v, _, _ := live(t, &rec)
	s := self("service")
	s.Path = executable(t)
	start(t, v, s)
	waitReady(t, v, "service", 20*time.Second)
	pid := v.Status()[0].PID
	begin := time.Now()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for v.Status()[0].PID == pid {
		time.Sleep(time.Millisecond)
	}
	waitReady(t, v, "service", 20*time.Second)
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("ready again after %s", took)
	}
	if st := v.Status()[0]; st.Restarts != 1 || st.LastExit != "signal: killed" {
		t.Errorf("status %+v", st)
	}
}

// TestSilentRealServiceIsRestarted: a service that stops pinging is ended,
// even though it is otherwise well.
func TestSilentRealServiceIsRestarted(t *testing.T) {
	t.Parallel()
	var rec recorder
	v, _, _ := live(t, &rec)
	s := self("service", "SILENT=1")
	s.Path = executable(t)
	s.Watchdog = 300 * time.Millisecond
	start(t, v, s)
	deadline := time.Now().Add(30 * time.Second)
	for v.Status()[0].Restarts == 0 {
		if time.Now().After(deadline) {
			t.Fatalf("not restarted: %+v", v.Status())
		}
		time.Sleep(10 * time.Millisecond)
	}
	if exit := v.Status()[0].LastExit; !strings.HasPrefix(exit, "watchdog silent, ") {
		t.Errorf("exit %q", exit)
	}
}

// TestStrangersCannotNotify sends READY=1 from a process that is no service.
func TestStrangersCannotNotify(t *testing.T) {
	t.Parallel()
	var rec recorder
	v, path, _ := live(t, &rec)
	start(t, v, Service{Name: "mute", Path: "/bin/sleep", Args: []string{"60"}, StopTimeout: time.Second})
	for v.Status()[0].PID == 0 {
		time.Sleep(time.Millisecond)
	}
	conn, err := net.Dial("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("READY=1\nSTATUS=owned")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	if s := v.Status()[0]; s.Phase != Starting || s.Text != "" {
		t.Errorf("status %+v", s)
	}
}

// TestNotificationsKeepNoDescriptors sends file descriptors, which a hostile
// service could use to fill our table.
func TestNotificationsKeepNoDescriptors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n, err := ListenNotify(filepath.Join(dir, "n"), -1, quiet())
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan Message, 100)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { _ = n.Serve(ctx, func(_ int, m Message) bool { got <- m; return true }) }()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "sender"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	to := &net.UnixAddr{Name: filepath.Join(dir, "n"), Net: "unixgram"}
	marker, err := os.CreateTemp(dir, "marker")
	if err != nil {
		t.Fatal(err)
	}
	defer marker.Close()
	for range 50 {
		if _, _, err := conn.WriteMsgUnix([]byte("WATCHDOG=1"), unix.UnixRights(int(marker.Fd())), to); err != nil {
			t.Fatal(err)
		}
		<-got
	}
	open := 0
	list, _ := os.ReadDir("/proc/self/fd")
	for _, e := range list {
		if to, _ := os.Readlink("/proc/self/fd/" + e.Name()); to == marker.Name() {
			open++
		}
	}
	if open > 2 { // ours, and one that may be on its way
		t.Errorf("%d descriptors stayed open", open)
	}
	// A datagram that does not fit is left out as a whole.
	if _, err := conn.WriteToUnix(bytes.Repeat([]byte("READY=1\n"), maxDatagram/8+1), to); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.WriteToUnix([]byte("STATUS=last"), to); err != nil {
		t.Fatal(err)
	}
	if m := <-got; m.Ready || m.Status != "last" {
		t.Errorf("got %+v", m)
	}
}

// TestLongLinesAreCut keeps a service from making us hold a line without end.
func TestLongLinesAreCut(t *testing.T) {
	t.Parallel()
	var lines []string
	readLines(strings.NewReader(strings.Repeat("x", 2*maxLine+5)+"\nnext\n\nlast"), func(l string) { lines = append(lines, l) })
	var lengths []int
	for _, l := range lines {
		lengths = append(lengths, len(l))
	}
	if fmt.Sprint(lengths) != fmt.Sprint([]int{maxLine, maxLine, 5, 4, 0, 4}) {
		t.Errorf("lengths %v", lengths)
	}
}

// TestReapTakesOrphansOnly runs a small init as a subreaper in a process of
// its own: it supervises a service while orphans end all the time.
func TestReapTakesOrphansOnly(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "RINGFENCE_TEST_ROLE=init")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "taken 40, exits 20\n") {
		t.Errorf("%v\n%s", err, out)
	}
}

func playInit() {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	children := &Children{}
	e := Exec{Unprivileged: true, Children: children}
	taken, exits := 0, 0
	var mu sync.Mutex
	done := make(chan struct{})
	go func() { // reap as eagerly as can be, to meet every race
		for {
			select {
			case <-done:
				return
			default:
			}
			n, _ := children.Reap()
			mu.Lock()
			taken += n
			mu.Unlock()
		}
	}()
	for range 20 { // each leaves two orphans behind and ends with status 7
		p, err := e.Spawn(Service{Name: "parent", Path: "/proc/self/exe", Env: []string{"RINGFENCE_TEST_ROLE=orphans"}}, func(l string) { fmt.Println(l) })
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		if exit := p.Wait(); exit == "exit status 7" {
			exits++
		} else {
			fmt.Println("exit:", exit)
		}
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		mu.Lock()
		n := taken
		mu.Unlock()
		if n == 40 {
			break
		}
	}
	close(done)
	mu.Lock()
	fmt.Printf("taken %d, exits %d\n", taken, exits)
	os.Exit(0)
}

func playOrphans() {
	for i := range 2 {
		cmd := exec.Command("/bin/sleep", strconv.FormatFloat(float64(i)*0.05, 'f', 2, 64))
		if err := cmd.Start(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	os.Exit(7)
}
