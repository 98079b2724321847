// Command decrypt opens a sealed delivery with nothing but Go's standard library:
//
//	go run ./examples/decrypt -customer clinic-7 -keys keys.txt sealed.zip > rows.ndjson
//
// Every line of a delivery is {"encrypted_data":"KEY_ID:IV:CIPHERTEXT_AND_TAG"}, and each opens in its own place only:
// the index of the line, counted from 0, and the customer stand in what GCM authenticates. A .gz or a .zip around the
// lines is taken off here; a .zst by `zstd -d` before. A format that was compressed before it was sealed (everything but
// NDJSON) comes out compressed, and from a .zip as .gz.
//
// The lines do not show that they are all, that they are of one run, and that the delivery is not an old one: give its
// receipt with -receipt, which is authenticated first (sdk/envelope/RECEIPT.md has its bytes), and the run that you expect
// with -expect-run. It is an example to copy from; `cipherstream decrypt` does more.
package main

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
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
	expectRun := flag.String("expect-run", "", "`ID` of the run that the delivery must be of; needs the receipt")
	flag.Parse()
	if *customer == "" || *keys == "" || flag.NArg() != 1 || *expectRun != "" && *receipt == "" {
		flag.Usage()
		os.Exit(2)
	}
	if err := decrypt(os.Stdout, flag.Arg(0), *customer, *keys, *receipt, *expectRun); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func decrypt(dst io.Writer, path, customer, keys, receipt, expectRun string) error {
	ring, err := readKeys(keys)
	if err != nil {
		return err
	}
	if receipt != "" {
		if err := checkReceipt(path, receipt, expectRun, ring); err != nil {
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

// key is a key, and what opens lines with it.
type key struct {
	cipher.AEAD
	raw []byte
}

// readKeys reads the keys of a file, and names them as the envelope does.
func readKeys(path string) (map[string]key, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	ring := map[string]key{}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(raw) != 32 {
			return nil, errors.New("a key is 32 bytes in base64")
		}
		block, err := aes.NewCipher(raw)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(raw)
		ring[hex.EncodeToString(sum[:8])] = key{aead, raw}
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
func unseal(line []byte, index int, ring map[string]key, customer string) ([]byte, error) {
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

const maxReceipt = 1 << 20

// statement is what a receipt proves, its members in their order.
type statement struct {
	Bytes      int64  `json:"bytes"`
	KeyID      string `json:"key_id"`
	Parameters string `json:"parameters"`
	Procedure  string `json:"procedure"`
	Rows       int64  `json:"rows"`
	RunID      string `json:"run_id"`
	SHA256     string `json:"sha256"`
	Time       string `json:"time"`
}

// readReceipt returns the statement of a receipt, after its MAC was checked under the key that it names.
func readReceipt(path string, ring map[string]key) (*statement, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxReceipt+1))
	if err != nil || len(text) > maxReceipt {
		return nil, errors.Join(errors.New("the receipt is too large, or cannot be read"), err)
	}
	var receipt struct{ Statement, MAC string }
	if err := json.Unmarshal(text, &receipt); err != nil {
		return nil, fmt.Errorf("the receipt: %w", err)
	}
	if receipt.Statement == "" || receipt.MAC == "" {
		return nil, errors.New("the receipt is not authenticated, so it proves nothing")
	}
	var proved statement
	if err := json.Unmarshal([]byte(receipt.Statement), &proved); err != nil {
		return nil, fmt.Errorf("the receipt: %w", err)
	}
	// One form only: nothing twice, nothing more.
	if again, err := json.Marshal(proved); err != nil || string(again) != receipt.Statement {
		return nil, errors.New("the receipt is not in its canonical form")
	}
	key, ok := ring[proved.KeyID]
	if !ok {
		return nil, fmt.Errorf("the receipt was made with key %s, which is not among yours", proved.KeyID)
	}
	receiptKey, err := hkdf.Key(sha256.New, key.raw, nil, "cipherstream receipt v1", 32)
	if err != nil {
		return nil, err
	}
	h := hmac.New(sha256.New, receiptKey)
	h.Write([]byte(receipt.Statement))
	if !hmac.Equal([]byte(hex.EncodeToString(h.Sum(nil))), []byte(receipt.MAC)) {
		return nil, errors.New("the receipt is forged")
	}
	return &proved, nil
}

// checkReceipt holds the delivery's SHA-256 against the receipt's.
func checkReceipt(path, receipt, expectRun string, ring map[string]key) error {
	proved, err := readReceipt(receipt, ring)
	if err != nil {
		return err
	}
	if expectRun != "" && proved.RunID != expectRun {
		return fmt.Errorf("this is the delivery of run %s, not of %s", proved.RunID, expectRun)
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
	if hex.EncodeToString(h.Sum(nil)) != proved.SHA256 {
		return errors.New("the delivery is not the one of the receipt, or not all of it")
	}
	return nil
}
