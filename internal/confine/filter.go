package confine

import (
	"errors"

	"golang.org/x/net/bpf"
)

// Rule allows one system call. With forms the call must have one of them,
// otherwise it is refused with EPERM.
type Rule struct {
	Call  uintptr
	Forms []Form
}

// Form is what the arguments must be like, all of them.
type Form []Arg

// Arg is a condition on the lower half of one argument: the numbers that
// system calls select by are int, or have their flags there.
type Arg struct {
	Index       int
	Mask, Value uint32
}

// Offsets of struct seccomp_data (seccomp(2)): nr, arch, instruction pointer,
// then six arguments of 64 bits. Both of our architectures are little-endian,
// so the lower half of an argument comes first.
const (
	offCall    = 0
	offArch    = 4
	offArgs    = 16
	argSize    = 8
	maxProgram = 4096 // BPF_MAXINSNS
)

// verdicts are what a program returns.
type verdicts struct {
	allow, refuse, unknown, kill uint32
}

// machine is what system calls are numbered by.
type machine struct {
	arch uint32 // AUDIT_ARCH_*
	// foreign, if not zero, is the first number of another numbering that the
	// kernel accepts as well: x32 on amd64.
	foreign uint32
}

// program is the filter as BPF: every call not named is refused as unknown, so
// that a library takes its other way, and those in never as not permitted.
func program(m machine, v verdicts, rules []Rule, never []uintptr) ([]bpf.Instruction, error) {
	p := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: m.arch, SkipTrue: 1},
		bpf.RetConstant{Val: v.kill},
		bpf.LoadAbsolute{Off: offCall, Size: 4},
	}
	if m.foreign != 0 {
		p = append(p,
			bpf.JumpIf{Cond: bpf.JumpLessThan, Val: m.foreign, SkipTrue: 1},
			bpf.RetConstant{Val: v.kill})
	}
	for _, c := range never {
		p = append(p, only(c, []bpf.Instruction{bpf.RetConstant{Val: v.refuse}})...)
	}
	for _, r := range rules {
		body := []bpf.Instruction{bpf.RetConstant{Val: v.allow}}
		if len(r.Forms) > 0 {
			body = forms(r.Forms, v)
		}
		if len(body) > 255 {
			return nil, errors.New("a system call has too many forms for one jump")
		}
		p = append(p, only(r.Call, body)...)
	}
	p = append(p, bpf.RetConstant{Val: v.unknown})
	if len(p) > maxProgram {
		return nil, errors.New("the system call filter is too long")
	}
	return p, nil
}

// only runs body, which does not come back, for one system call.
func only(call uintptr, body []bpf.Instruction) []bpf.Instruction {
	jump := bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(call), SkipTrue: uint8(len(body))}
	return append([]bpf.Instruction{jump}, body...)
}

func forms(all []Form, v verdicts) []bpf.Instruction {
	var body []bpf.Instruction
	for _, f := range all {
		// Each condition is three instructions, and the verdict is one more.
		for i, a := range f {
			body = append(body,
				bpf.LoadAbsolute{Off: uint32(offArgs + a.Index*argSize), Size: 4},
				bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: a.Mask},
				bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: a.Value, SkipTrue: uint8(3*(len(f)-1-i) + 1)})
		}
		body = append(body, bpf.RetConstant{Val: v.allow})
	}
	return append(body, bpf.RetConstant{Val: v.refuse})
}
