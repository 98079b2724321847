// Command decrypt opens a sealed delivery with nothing but Go's standard library:
//
//	go run ./examples/decrypt -customer clinic-7 -keys keys.txt sealed.zip > rows.ndjson
//
// Every line of a delivery is {"encrypted_data":"KEY_ID:IV:CIPHERTEXT_AND_TAG"}, and each opens in its own place only:
// the index of the line, counted from 0, and the customer stand in what GCM authenticates. A .gz or a .zip around the
// lines is taken off here; a .zst by `zstd -d` before. A format that was compressed before it was sealed (everything but
// NDJSON) comes out compressed.
//
// With -receipt, the delivery is held against its SHA-256 first, which is the only way to notice that lines are missing
// at the end of one that is not compressed. It is an example to copy from; `cipherstream decrypt` does more.
package main

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	customer := flag.String("customer", "", "the customer_id that the data was asked for with")
	keys := flag.String("keys", "", "`FILE` with your keys in base64, one a line")
	receipt := flag.String("receipt", "", "`FILE` with the receipt of the delivery")
	flag.Parse()
	if *customer == "" || *keys == "" || flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := decrypt(os.Stdout, flag.Arg(0), *customer, *keys, *receipt); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func decrypt(dst io.Writer, path, customer, keys, receipt string) error {
	ring, err := readKeys(keys)
	if err != nil {
		return err
	}
	if receipt != "" {
		if err := checkReceipt(path, receipt); err != nil {
			return err
		}
	}
	packed, err := openLines(path)
	if err != nil {
		return err
	}
	defer packed.Close()
	lines, out := bufio.NewReaderSize(packed, 1<<20), bufio.NewWriterSize(dst, 1<<20)
	for index := 0; ; index++ {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			return out.Flush()
		}
		if err == io.EOF {
			err = errors.New("it is cut off")
		}
		if err == nil {
			line, err = unseal(line, index, ring, customer)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", index, errors.Join(err, out.Flush()))
		}
		if _, err := out.Write(line); err != nil {
			return err
		}
	}
}

// readKeys reads the keys of a file, and names them as the envelope does.
func readKeys(path string) (map[string]cipher.AEAD, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	ring := map[string]cipher.AEAD{}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(key) != 32 {
			return nil, errors.New("a key is 32 bytes in base64")
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(key)
		if ring[hex.EncodeToString(sum[:8])], err = cipher.NewGCM(block); err != nil {
			return nil, err
		}
	}
	return ring, nil
}

// opened is a stream and the file below it.
type opened struct {
	io.Reader
	io.Closer
}

// openLines opens the envelope lines of a delivery, whatever it is packed in.
func openLines(path string) (io.ReadCloser, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	buffered := bufio.NewReader(file)
	start, _ := buffered.Peek(4) // a delivery may be shorter
	switch {
	case bytes.HasPrefix(start, []byte("\x1f\x8b")):
		lines, err := gzip.NewReader(buffered)
		return opened{lines, file}, err
	case string(start) == "PK\x03\x04":
		file.Close()
		archive, err := zip.OpenReader(path)
		if err != nil {
			return nil, err
		}
		if len(archive.File) != 1 {
			archive.Close()
			return nil, fmt.Errorf("the archive has %d entries; a delivery has one", len(archive.File))
		}
		lines, err := archive.File[0].Open()
		return opened{lines, archive}, err
	}
	return opened{buffered, file}, nil
}

// unseal returns what the line of that index was sealed from: a row, or a chunk of the file.
func unseal(line []byte, index int, ring map[string]cipher.AEAD, customer string) ([]byte, error) {
	var envelope struct {
		Data string `json:"encrypted_data"`
	}
	if err := json.Unmarshal(line, &envelope); err != nil {
		return nil, err
	}
	parts := strings.Split(envelope.Data, ":")
	if len(parts) != 3 {
		return nil, errors.New("it is no envelope")
	}
	key, ok := ring[parts[0]]
	if !ok {
		return nil, fmt.Errorf("it was sealed with key %s, which is not among yours", parts[0])
	}
	iv, err := base64.StdEncoding.DecodeString(parts[1])
	if err != nil || len(iv) != key.NonceSize() {
		return nil, errors.New("its IV is not 12 bytes in base64")
	}
	sealed, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil {
		return nil, err
	}
	plain, err := key.Open(sealed[:0], iv, sealed, fmt.Appendf(nil, "stream:%s:%d", customer, index))
	if err != nil {
		return nil, errors.New("altered, out of its place, or of another customer or key")
	}
	return plain, nil
}

// checkReceipt holds the delivery's SHA-256 against the receipt's.
func checkReceipt(path, receipt string) error {
	text, err := os.ReadFile(receipt)
	if err != nil {
		return err
	}
	var expected struct {
		SHA256 string `json:"sha256"`
	}
	if err := json.Unmarshal(text, &expected); err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return err
	}
	if hex.EncodeToString(h.Sum(nil)) != expected.SHA256 {
		return errors.New("the delivery is not the one of the receipt, or not all of it")
	}
	return nil
}
