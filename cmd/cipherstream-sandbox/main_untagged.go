//go:build !gms_pure_go

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "this program was built without its server; build it with: go build -tags gms_pure_go ./cmd/cipherstream-sandbox")
	os.Exit(2)
}
