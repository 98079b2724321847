package row

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
)

// dump reads the events of a file of MariaDB's log as a replica does.
func dump(t *testing.T, db logged, name string) (events [][]byte) {
	t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", db.Port()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	in := bufio.NewReader(conn)
	sequence := byte(0)
	read := func() (packet []byte) {
		for {
			var head [4]byte
			if _, err := io.ReadFull(in, head[:]); err != nil {
				t.Fatal(err)
			}
			sequence = head[3] + 1
			part := make([]byte, int(head[0])|int(head[1])<<8|int(head[2])<<16)
			if _, err := io.ReadFull(in, part); err != nil {
				t.Fatal(err)
			}
			if packet = append(packet, part...); len(part) < 1<<24-1 {
				return packet
			}
		}
	}
	write := func(packet []byte) {
		head := []byte{byte(len(packet)), byte(len(packet) >> 8), byte(len(packet) >> 16), sequence}
		if _, err := conn.Write(append(head, packet...)); err != nil {
			t.Fatal(err)
		}
	}
	answer := func() {
		if p := read(); p[0] != 0 {
			t.Fatalf("the server answers %q", p)
		}
	}
	greeting := read()[1:]
	for greeting[0] != 0 {
		greeting = greeting[1:]
	}
	scramble := append(append([]byte{}, greeting[5:13]...), greeting[32:44]...)
	const capabilities = 1 | 0x200 | 0x8000 | 0x80000 // long password, protocol of 4.1, its passwords, plugins
	login := binary.LittleEndian.AppendUint32(nil, capabilities)
	login = binary.LittleEndian.AppendUint32(login, 1<<30)
	login = append(append(login, 45), make([]byte, 23)...)
	login = append(login, "root\x00\x14"...)
	login = append(login, gomysql.CalcNativePassword(scramble, []byte(db.Password()))...)
	write(append(login, "mysql_native_password\x00"...))
	answer()
	for _, statement := range []string{"SET @master_binlog_checksum = 'CRC32'", "SET @mariadb_slave_capability = 4"} {
		sequence = 0
		write(append([]byte{3}, statement...))
		answer()
	}
	sequence = 0
	const doNotWait = 1
	command := append([]byte{0x12}, 4, 0, 0, 0, doNotWait, 0, 77, 0, 0, 0)
	write(append(command, name...))
	for {
		p := read()
		switch {
		case p[0] == 0xff:
			t.Fatalf("the server answers %q", p)
		case p[0] == 0xfe && len(p) < 9:
			return events
		}
		events = append(events, p[1:])
	}
}
