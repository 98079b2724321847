package program

import (
	"debug/elf"
	"slices"
	"testing"
)

// lookUp are the functions that look methods up by a name which only the run knows. With one of them in the program, the
// linker keeps every exported method of every type, a fifth of its size.
var lookUp = []string{"text/template.(*state).evalField", "net/rpc.suitableMethods"}

// TestSize: the program has at most 50 MB without its symbols, and nothing for whose sake the linker keeps what nobody calls.
func TestSize(t *testing.T) {
	path, err := Path()
	if err != nil {
		t.Fatal(err)
	}
	program, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	var size uint64
	for _, s := range program.Sections {
		if s.Flags&elf.SHF_ALLOC != 0 && s.Type != elf.SHT_NOBITS {
			size += s.FileSize
		}
	}
	const most = 50_000_000
	t.Logf("%d bytes", size)
	if size < most/10 || size > most {
		t.Errorf("the program has %d bytes, want at most %d", size, most)
	}
	symbols, err := program.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range symbols {
		if slices.Contains(lookUp, s.Name) {
			t.Errorf("%s is in the program: `go build -ldflags=-dumpdep ./cmd/cipherstream` tells who calls it", s.Name)
		}
	}
}
