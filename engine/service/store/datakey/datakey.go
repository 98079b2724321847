// Package datakey is the key of a data directory, under which the service keeps what it has to keep secret: the sealing
// keys that it issues. It lies in the directory beside the record, or is given by the configuration, so that a copy of the
// record alone gives nothing away.
package datakey

import "github.com/cipherstream/cipherstream/sdk/config"

// Key seals and opens short texts.
type Key struct{}

// Open reads the key of a data directory, and makes it where there is none.
func Open(dir string) (*Key, error) { panic("not built yet") }

// Parse takes the key that the configuration gives: standard base64 of 32 bytes.
func Parse(secret config.Secret) (*Key, error) { panic("not built yet") }
