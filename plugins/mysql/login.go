package mysql

import (
	"bytes"
	"crypto/rsa"
	"encoding/binary"

	protocol "github.com/go-mysql-org/go-mysql/mysql"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Capabilities (MySQL protocol, Capabilities Flags).
const (
	capabilityLongPassword     = 1 << 0
	capabilityLongFlag         = 1 << 2
	capabilityConnectWithDB    = 1 << 3
	capabilityProtocol41       = 1 << 9
	capabilityTLS              = 1 << 11
	capabilityTransactions     = 1 << 13
	capabilitySecureConnection = 1 << 15
	capabilityMultiResults     = 1 << 17
	capabilityPSMultiResults   = 1 << 18
	capabilityPluginAuth       = 1 << 19
	capabilityConnectAttrs     = 1 << 20
	capabilityLengthEncoded    = 1 << 21 // of the authentication response

	wantedCapabilities = capabilityLongPassword | capabilityLongFlag | capabilityProtocol41 | capabilityTransactions | capabilitySecureConnection |
		capabilityMultiResults | capabilityPSMultiResults | capabilityPluginAuth | capabilityConnectAttrs | capabilityLengthEncoded
)

// collation is utf8mb4_general_ci, which both MySQL and MariaDB know; SET NAMES follows.
const collation = 45

const (
	// largestLogin bounds a packet of the login; the longest are public keys and messages.
	largestLogin = 16 << 10
	// longestLogin is how many packets a server may send before it lets us in. No way of
	// authentication takes more than four.
	longestLogin = 8
)

// Packet headers of the login.
const (
	headerMoreData = 0x01
	headerSwitch   = 0xfe
)

// The plugins of authentication that are answered.
const (
	pluginNative    = protocol.AUTH_NATIVE_PASSWORD
	pluginSHA2      = protocol.AUTH_CACHING_SHA2_PASSWORD
	pluginSHA256    = protocol.AUTH_SHA256_PASSWORD
	pluginEd25519   = protocol.AUTH_MARIADB_ED25519
	pluginClearText = protocol.AUTH_CLEAR_PASSWORD
)

// shortestScramble is what the server sends for the password to be mixed with.
const shortestScramble = 20

// login is the exchange in which the server gets to know who we are.
type login struct {
	target *target
	c      *wire
	// encrypted says that TLS is up, verified that the server's certificate was checked,
	// local that the peer is this machine.
	encrypted, verified, local bool

	plugin   string
	scramble []byte
	// wantsKey says that the server was asked for its public key.
	wantsKey bool
}

// capabilities are what the login asks for. They are the same in the request for TLS and
// in what follows it.
func (l *login) capabilities(g *serverHandshake) uint32 {
	capabilities := g.capabilities & wantedCapabilities
	if l.encrypted {
		capabilities |= capabilityTLS
	}
	if l.target.database != "" {
		capabilities |= capabilityConnectWithDB
	}
	return capabilities
}

func handshakeHead(capabilities uint32) []byte {
	head := binary.LittleEndian.AppendUint32(nil, capabilities)
	head = binary.LittleEndian.AppendUint32(head, 0) // the largest packet that we take: any
	return append(append(head, collation), make([]byte, 23)...)
}

// run answers the server until it lets us in (Protocol::HandshakeResponse41 and what
// follows).
func (l *login) run(g *serverHandshake) error {
	l.plugin, l.scramble = g.plugin, g.scramble
	answer, err := l.answer()
	if err != nil {
		// This is the server's default; the account's may be another, to which it switches then.
		l.plugin = pluginNative
		if answer, err = l.answer(); err != nil {
			return err
		}
	}
	if err := l.c.write(l.response(g, answer)); err != nil {
		return err
	}
	switched := false
	for range longestLogin {
		p, err := l.c.next()
		if err != nil {
			return err
		}
		if len(p) == 0 {
			return protocolFault("empty packet in the login")
		}
		switch p[0] {
		case headerOK:
			_, _, err := parseOK(p)
			return err
		case headerError:
			return parseError(p)
		case headerMoreData:
			answer, err = l.more(p[1:])
		case headerSwitch:
			if switched {
				return protocolFault("the server changes the way of authentication twice")
			}
			switched = true
			answer, err = l.change(p[1:])
		default:
			return protocolFault("a packet of the login begins with 0x%02x", p[0])
		}
		if err != nil {
			return err
		}
		if answer != nil {
			if err := l.c.write(answer); err != nil {
				return err
			}
		}
	}
	return protocolFault("the login does not end after %d packets", longestLogin)
}

// handshake writes the first packet that names the user.
func (l *login) response(g *serverHandshake, answer []byte) []byte {
	t := l.target
	capabilities := l.capabilities(g)
	p := handshakeHead(capabilities)
	p = append(append(p, t.user...), 0)
	if capabilities&capabilityLengthEncoded != 0 {
		p = appendLengthEncoded(p, uint64(len(answer)))
	} else {
		p = append(p, byte(len(answer)))
	}
	p = append(p, answer...)
	if t.database != "" {
		p = append(append(p, t.database...), 0)
	}
	if capabilities&capabilityPluginAuth != 0 {
		p = append(append(p, l.plugin...), 0)
	}
	if capabilities&capabilityConnectAttrs != 0 {
		const name, value = "program_name", "cipherstream"
		p = appendLengthEncoded(p, uint64(len(name)+len(value)+2))
		p = append(append(p, byte(len(name))), name...)
		p = append(append(p, byte(len(value))), value...)
	}
	return p
}

// change takes another plugin, and a scramble for it (Protocol::AuthSwitchRequest).
func (l *login) change(p []byte) ([]byte, error) {
	if len(p) == 0 { // Protocol::OldAuthSwitchRequest
		return nil, l.unsupported("mysql_old_password")
	}
	name, data, ok := bytes.Cut(p, []byte{0})
	if !ok {
		return nil, protocolFault("a change of the way of authentication is truncated")
	}
	l.plugin, l.scramble = string(name), bytes.TrimSuffix(bytes.Clone(data), []byte{0})
	answer, err := l.answer()
	if answer == nil && err == nil {
		answer = []byte{}
	}
	return answer, err
}

// answer is the first thing that a plugin says.
func (l *login) answer() ([]byte, error) {
	password := l.target.password
	if l.plugin != pluginClearText && l.plugin != pluginEd25519 && len(l.scramble) < shortestScramble {
		return nil, protocolFault("the scramble of %s has %d bytes, expected %d", shown(l.plugin), len(l.scramble), shortestScramble)
	}
	switch l.plugin {
	case pluginNative:
		return protocol.CalcNativePassword(l.scramble[:shortestScramble], []byte(password)), nil
	case pluginSHA2:
		return protocol.CalcCachingSha2Password(l.scramble[:shortestScramble], []byte(password)), nil
	case pluginSHA256:
		if password == "" {
			return []byte{0}, nil
		}
		return l.whole(0x01)
	case pluginEd25519:
		const size = 32
		if len(l.scramble) != size {
			return nil, protocolFault("the scramble of %s has %d bytes, expected %d", l.plugin, len(l.scramble), size)
		}
		signature, err := protocol.CalcEd25519Password(l.scramble, password)
		if err != nil {
			return nil, protocolFault("the scramble of %s cannot be signed", l.plugin)
		}
		return signature, nil
	case pluginClearText:
		if !l.target.protection.clearText || !l.encrypted || !l.verified {
			return nil, fault.New(codeAuth, fault.Connect, "the server at %s asks for the password in clear text", l.target.address).
				WithHint("that is answered only with cleartext_password=true, over TLS, and when the server's certificate was checked")
		}
		return append([]byte(password), 0), nil
	}
	return nil, l.unsupported(l.plugin)
}

// whole gives the whole password away: as it is to whom nobody else can listen, else
// encrypted with the server's public key, for which ask asks.
func (l *login) whole(ask byte) ([]byte, error) {
	switch {
	case l.encrypted || l.target.network == "unix":
		return append([]byte(l.target.password), 0), nil
	case l.target.protection.serverKey != nil:
		return l.seal(l.target.protection.serverKey)
	case l.local:
		l.wantsKey = true
		return []byte{ask}, nil
	}
	return nil, fault.New(codeAuth, fault.Connect, "the server at %s asks for the password without TLS, encrypted with a key that nothing vouches for", l.target.address).
		WithHint("use TLS, or give the server's public_key.pem with server_public_key=FILE")
}

func (l *login) seal(key *rsa.PublicKey) ([]byte, error) {
	sealed, err := protocol.EncryptPassword(l.target.password, l.scramble[:shortestScramble], key)
	if err != nil {
		return nil, fault.New(codeAuth, fault.Connect, "the password cannot be encrypted with the server's public key: %w", err)
	}
	return sealed, nil
}

// more answers what a plugin says beyond its first word (Protocol::AuthMoreData).
func (l *login) more(data []byte) ([]byte, error) {
	const fastDone, full, askSHA2 = 0x03, 0x04, 0x02
	switch {
	case l.wantsKey:
		l.wantsKey = false
		key, err := parseServerKey(data)
		if err != nil {
			return nil, protocolFault("the server's public key cannot be read")
		}
		return l.seal(key)
	case l.plugin == pluginSHA2 && len(data) == 1 && data[0] == fastDone:
		return nil, nil
	case l.plugin == pluginSHA2 && len(data) == 1 && data[0] == full:
		return l.whole(askSHA2)
	}
	return nil, protocolFault("the server says more than %s has to say", shown(l.plugin))
}

func (l *login) unsupported(plugin string) error {
	return fault.New(codeAuth, fault.Connect,
		"the server at %s asks for a way of authentication that is not supported: %s", l.target.address, shown(plugin)).
		WithHint("supported are caching_sha2_password, sha256_password, mysql_native_password, MariaDB's client_ed25519, and mysql_clear_password by a setting")
}
