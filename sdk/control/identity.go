package control

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"time"
)

// EnvHostCertificate is the environment variable in which go-plugin's AutoMTLS
// hands the host's certificate to the plugin, in PEM. The plugin answers with its
// own in the sixth field of its handshake, DER in unpadded base64.
const EnvHostCertificate = "PLUGIN_CLIENT_CERT"

// serverName is the name that both certificates carry, as in AutoMTLS.
const serverName = "localhost"

// Identity is a certificate for the two sides of one control connection, and its
// private key, which never leaves the process.
//
// The exchange is the one of go-plugin's AutoMTLS, so that plugins that use
// go-plugin as it is work too. Only the keys differ: AutoMTLS makes P-521 keys,
// which cost 70 ms of CPU per process on a machine where P-256 costs 1 ms.
type Identity struct{ certificate tls.Certificate }

// NewIdentity makes a key and a self-signed certificate.
func NewIdentity() (*Identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: serverName},
		DNSNames:              []string{serverName},
		NotBefore:             time.Now().Add(-time.Minute),
		NotAfter:              time.Now().AddDate(10, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &Identity{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}, nil
}

// PEM returns the certificate for EnvHostCertificate.
func (i *Identity) PEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.certificate.Certificate[0]}))
}

// Client returns the host's side. go-plugin adds the plugin's certificate, the
// only one that is then accepted, when the handshake brings it.
func (i *Identity) Client() *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{i.certificate},
		MinVersion:   tls.VersionTLS13,
		ServerName:   serverName,
		RootCAs:      x509.NewCertPool(), // nobody, until the handshake
	}
}

// server returns the plugin's side, which accepts the host's certificate alone.
func (i *Identity) server(hostPEM string) (*tls.Config, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(hostPEM)) {
		return nil, errors.New("the host's certificate cannot be read")
	}
	return &tls.Config{
		Certificates: []tls.Certificate{i.certificate},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    pool,
		MinVersion:   tls.VersionTLS13,
	}, nil
}

// der is the certificate as the handshake line has it.
func (i *Identity) der() string {
	return base64.RawStdEncoding.EncodeToString(i.certificate.Certificate[0])
}
