package webhook

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"time"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
)

// certificateLife is how long a certificate that is made here is good.
const certificateLife = 30 * 24 * time.Hour

// certificate is the one that a receiver shows: of files, or made for the host that it listens on, and then signed by itself.
func certificate(certFile, keyFile, host string) (tls.Certificate, error) {
	if certFile == "" {
		return selfSigned(host)
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return pair, terminal.UsageFault("--cert and --key cannot be used: %w", err)
	}
	return pair, nil
}

func selfSigned(host string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return tls.Certificate{}, err
	}
	about := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "cipherstream webhook listen"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(certificateLife),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true, // so that whoever trusts it may: it signs nothing but itself
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if ip := net.ParseIP(host); ip == nil && host != "" {
		about.DNSNames = append(about.DNSNames, host)
	} else if ip != nil && !ip.IsUnspecified() {
		about.IPAddresses = append(about.IPAddresses, ip)
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

// saveCertificate writes what a sender has to trust.
func saveCertificate(path string, c tls.Certificate) error {
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return terminal.UsageFault("--save-cert cannot be written: %w", err)
	}
	return nil
}
