package efi

import (
	"bytes"
	"debug/pe"
	"os/exec"
	"strings"
	"testing"
	"unicode/utf16"
)

func TestGuardIsAnEFIProgram(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("as"); err != nil {
		t.Skip("as is not installed (package binutils)")
	}
	data, err := Guard(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	again, err := Guard(t.Context(), t.TempDir())
	if err != nil || !bytes.Equal(data, again) {
		t.Errorf("two assemblies differ, %v", err)
	}
	f, err := pe.NewFile(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	h, ok := f.OptionalHeader.(*pe.OptionalHeader64)
	if !ok || h.Subsystem != pe.IMAGE_SUBSYSTEM_EFI_APPLICATION || f.Machine != pe.IMAGE_FILE_MACHINE_AMD64 {
		t.Errorf("headers are %+v, %+v", f.FileHeader, f.OptionalHeader)
	}
	text := f.Section(".text")
	if text == nil || f.Section(".reloc") == nil {
		t.Fatal("a section is missing")
	}
	if text.VirtualAddress != h.AddressOfEntryPoint || text.Offset%h.FileAlignment != 0 || text.VirtualAddress%h.SectionAlignment != 0 {
		t.Errorf("code is at %#x, entry at %#x", text.VirtualAddress, h.AddressOfEntryPoint)
	}
	if f.Characteristics&pe.IMAGE_FILE_RELOCS_STRIPPED != 0 {
		t.Error("firmware would refuse to move the program")
	}
	code, err := text.Data()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(code, utf16le(`\`+strings.ReplaceAll(SystemdBootPath, "/", `\`)+"\x00")) {
		t.Error("the guard looks for systemd-boot elsewhere")
	}
}

func utf16le(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return b
}
