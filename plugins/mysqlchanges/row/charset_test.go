package row

import (
	"bytes"
	"compress/flate"
	"database/sql"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write the tables of character sets, as the MySQL server of the tests has them")

// tableNames are the character sets that have a table.
func tableNames(t *testing.T) (names []string) {
	entries, err := tables.ReadDir("charsets")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if name, ok := strings.CutSuffix(entry.Name(), tableExtension); ok {
			names = append(names, name)
		}
	}
	return names
}

// code makes the nth code of a length in bytes.
func code(size, n int) []byte {
	switch size {
	case 1:
		return []byte{byte(n)}
	case 2:
		return []byte{byte(n >> 8), byte(n)}
	case 3:
		return []byte{leadOfThree, byte(n >> 8), byte(n)}
	}
	return []byte{byte(n/12600) + 0x81, byte(n/1260%10) + 0x30, byte(n/10%126) + 0x81, byte(n%10) + 0x30}
}

// counts are how many codes there are of a length.
var counts = map[int]int{1: 1 << 8, 2: 1 << 16, 3: 1 << 16, 4: fours}

// converted asks a server what all codes of a length are in UTF-8; what it does not take is empty.
func converted(t *testing.T, db *sql.DB, name string, size int) [][]byte {
	t.Helper()
	const digits = "(SELECT 0 d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9 UNION ALL SELECT 10 UNION ALL SELECT 11 UNION ALL SELECT 12 UNION ALL SELECT 13 UNION ALL SELECT 14 UNION ALL SELECT 15)"
	number := "SELECT a.d + 16 * b.d n FROM " + digits + " a, " + digits + " b"
	if size > 1 {
		number = "SELECT a.d + 16 * b.d + 256 * c.d + 4096 * e.d n FROM " + digits + " a, " + digits + " b, " + digits + " c, " + digits + " e"
	}
	bytes := map[int]string{
		1: "CHAR(n)", 2: "CHAR(n DIV 256, n % 256)", 3: fmt.Sprintf("CHAR(%d, n DIV 256, n %% 256)", leadOfThree),
		4: "CHAR(n DIV 12600 + 0x81, n DIV 1260 % 10 + 0x30, n DIV 10 % 126 + 0x81, n % 10 + 0x30)",
	}[size]
	rows, err := db.Query(fmt.Sprintf("SELECT n, IF(CHAR_LENGTH(CONVERT(%[1]s USING %[2]s)) = 1, CONVERT(CONVERT(%[1]s USING %[2]s) USING utf8mb4), '') FROM (%[3]s) AS numbers WHERE n < %[4]d",
		bytes, name, number, counts[size]))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	list := make([][]byte, counts[size])
	for rows.Next() {
		var n int
		var text []byte
		if err := rows.Scan(&n, &text); err != nil {
			t.Fatal(err)
		}
		list[n] = text
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// sizes are the lengths in bytes of a table's codes.
func (t *table) sizes() (sizes []int) {
	for i, part := range [][]uint16{t.one, t.two, t.three, t.four} {
		if part != nil {
			sizes = append(sizes, i+1)
		}
	}
	return sizes
}

// testCharsets asks a server for every code of every character set that has a table, and reads columns of them.
func testCharsets(t *testing.T, db logged) {
	pool := db.open(t)
	if *update && !db.mariaDB {
		writeTables(t, pool)
		return
	}
	testCollations(t, pool)
	var columns, names, rows []string
	for _, name := range tableNames(t) {
		if db.mariaDB && name == "gb18030" { // which it does not have
			continue
		}
		set := loadTable(name)
		wrong := 0
		var all []byte
		for _, size := range set.sizes() {
			for n, want := range converted(t, pool, name, size) {
				text := code(size, n)
				r, taken := set.decode(text)
				if taken != size && taken != 0 { // it begins with a shorter one
					continue
				}
				if taken == 0 && db.mariaDB && string(want) == "?" { // which it gives for what is not well-formed, too
					continue
				}
				got := ""
				if taken > 0 {
					got = string(r)
					if size > 1 || n < 0x80 || len(set.sizes()) < 3 { // of EUC-JP some of these no column takes
						all = append(all, text...)
					}
				}
				if got != string(want) {
					if wrong++; wrong < 4 {
						t.Errorf("%s: %x is %q, the server has %q", name, text, got, want)
					}
				}
			}
		}
		if wrong > 0 {
			t.Errorf("%s: %d differ", name, wrong)
		}
		columns = append(columns, fmt.Sprintf("%[1]s LONGTEXT CHARACTER SET %[1]s", name))
		names = append(names, name)
		rows = append(rows, fmt.Sprintf("_%s x'%x'", name, all))
	}
	db.Exec("CREATE TABLE charsets (id INT NOT NULL PRIMARY KEY, " + strings.Join(columns, ", ") + ")")
	db.sameAsSelected(t, "charsets", "INSERT INTO charsets (id, "+strings.Join(names, ", ")+") VALUES (1, "+strings.Join(rows, ", ")+")", nil, Options{})
}

// testCollations compares the numbers of collations with those of the server, where it tells them all.
func testCollations(t *testing.T, db *sql.DB) {
	rows, err := db.Query("SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY")
	if err != nil { // it tells fewer: MySQL, and MariaDB before 10.10
		rows, err = db.Query("SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS WHERE ID IS NOT NULL")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var id uint64
		var column Column
		if err := rows.Scan(&id, &column.Charset); err != nil {
			t.Fatal(err)
		}
		n++
		if got := charsetOf(id); got != column.charset() {
			t.Errorf("collation %d is of %q, want %q", id, got, column.charset())
		}
	}
	if n < 200 || charsetOf(0) != "" || charsetOf(1<<20) != "" {
		t.Errorf("%d collations", n)
	}
}

func writeTables(t *testing.T, db *sql.DB) {
	rows, err := db.Query("SELECT CHARACTER_SET_NAME FROM information_schema.CHARACTER_SETS")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	rows.Close()
	for _, name := range names {
		if strings.HasPrefix(name, "ut") || name == "ucs2" || name == "binary" {
			continue
		}
		sizes := map[string][]int{"big5": {1, 2}, "cp932": {1, 2}, "sjis": {1, 2}, "euckr": {1, 2}, "gb2312": {1, 2}, "gbk": {1, 2},
			"ujis": {1, 2, 3}, "eucjpms": {1, 2, 3}, "gb18030": {1, 2, 4}}[name]
		if sizes == nil {
			sizes = []int{1}
		}
		var plain []byte
		for _, size := range sizes {
			for n, text := range converted(t, db, name, size) {
				r, taken := utf8.DecodeRune(text)
				if size == 2 && binary.LittleEndian.Uint16(plain[n>>8*2:]) != 0 || n == 0 && size == 1 || taken == 0 {
					r = 0
				}
				if taken != len(text) && r != 0 || r > 0xffff {
					t.Fatalf("%s: %x is %q", name, code(size, n), text)
				}
				plain = binary.LittleEndian.AppendUint16(plain, uint16(r))
			}
		}
		var packed bytes.Buffer
		w, _ := flate.NewWriter(&packed, flate.BestCompression)
		_, _ = w.Write(plain)
		w.Close()
		if err := os.WriteFile(filepath.Join("charsets", name+tableExtension), packed.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d bytes", name, packed.Len())
	}
}
