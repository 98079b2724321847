package row

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// testRandom compares random values of random columns.
func testRandom(t *testing.T, db logged) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 2))
	digits := func(n int) string {
		var b strings.Builder
		for range n {
			b.WriteByte(byte('0' + r.IntN(10)))
		}
		return b.String()
	}
	hex := func(n int) string {
		b := make([]byte, r.IntN(n+1))
		for i := range b {
			b[i] = byte(r.IntN(256) * r.IntN(2))
		}
		return fmt.Sprintf("x'%x'", b)
	}
	fraction := func(n int) string {
		if n == 0 {
			return ""
		}
		return "." + digits(n)
	}
	date := func() string { return fmt.Sprintf("%04d-%02d-%02d", r.IntN(9999)+1, r.IntN(12)+1, r.IntN(28)+1) }
	var ddl []string
	var make []func() string
	column := func(declared string, value func() string) {
		ddl = append(ddl, fmt.Sprintf("c%d %s", len(ddl), declared))
		make = append(make, value)
	}
	for range 12 {
		precision := r.IntN(65) + 1
		scale := r.IntN(min(precision, 30) + 1)
		column(fmt.Sprintf("DECIMAL(%d,%d)", precision, scale), func() string {
			return [...]string{"", "-"}[r.IntN(2)] + digits(r.IntN(precision-scale+1)) + "0." + digits(scale) + "0"
		})
	}
	for n := range 7 {
		column(fmt.Sprintf("DATETIME(%d)", n), func() string {
			return fmt.Sprintf("'%s %02d:%02d:%02d%s'", date(), r.IntN(24), r.IntN(60), r.IntN(60), fraction(n))
		})
		column(fmt.Sprintf("TIME(%d)", n), func() string {
			return fmt.Sprintf("'%s%d:%02d:%02d%s'", [...]string{"", "-"}[r.IntN(2)], r.IntN(1+r.IntN(838)), r.IntN(60), r.IntN(60), fraction(n))
		})
		column(fmt.Sprintf("TIMESTAMP(%d) NULL", n), func() string { return fmt.Sprintf("FROM_UNIXTIME(%d%s)", r.Int32(), fraction(n)) })
	}
	column("DATE", func() string { return "'" + date() + "'" })
	column("FLOAT", func() string {
		return strconv.FormatFloat(float64(math.Float32frombits(r.Uint32()&0x7effffff)), 'e', -1, 32)
	})
	column("DOUBLE", func() string { return randomDouble(r) })
	for _, bits := range []int{1, 7, 17, 33, 64} {
		column(fmt.Sprintf("BIT(%d)", bits), func() string { return strconv.FormatUint(r.Uint64()>>(64-bits), 10) })
	}
	for _, kind := range []string{"TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT"} {
		column(kind, func() string { return strconv.FormatInt(int64(r.Uint64())>>r.IntN(64), 10) })
		column(kind+" UNSIGNED", func() string { return strconv.FormatUint(r.Uint64()>>r.IntN(64), 10) })
	}
	for _, n := range []int{1, 20, 255} {
		column(fmt.Sprintf("BINARY(%d)", n), func() string { return hex(n) })
		column(fmt.Sprintf("VARBINARY(%d)", n*3), func() string { return hex(n * 3) })
		column(fmt.Sprintf("CHAR(%d)", n), func() string { return literal(randomText(r, n)) })
		column(fmt.Sprintf("CHAR(%d) CHARACTER SET latin1", n), func() string { return fmt.Sprintf("_latin1 %s", hex(n)) })
	}
	for _, charset := range []string{"utf8mb4", "utf8mb3", "utf16", "utf16le", "utf32", "ucs2"} {
		column("VARCHAR(100) CHARACTER SET "+charset, func() string { return literal(randomText(r, 90)) })
		column("TEXT CHARACTER SET "+charset, func() string { return literal(randomText(r, 300)) })
		column("CHAR(30) CHARACTER SET "+charset, func() string { return literal(randomText(r, 30) + strings.Repeat(" ", r.IntN(3))) })
	}
	if db.mariaDB {
		column("INET6", func() string {
			words := []string{}
			for range 8 {
				words = append(words, strconv.FormatUint(uint64(r.IntN(1<<16)*r.IntN(2)), 16))
			}
			return "'" + strings.Join(words, ":") + "'"
		})
		column("UUID", func() string {
			h := fmt.Sprintf("%016x%016x", r.Uint64(), r.Uint64()<<(8*r.IntN(8)))
			return "'" + h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:] + "'"
		})
	} else {
		column("JSON", func() string { return literal(randomJSON(r, 3)) })
	}
	db.Exec("CREATE TABLE random (id INT NOT NULL PRIMARY KEY, " + strings.Join(ddl, ", ") + ")")
	var updates []string
	for i := range ddl {
		updates = append(updates, fmt.Sprintf("c%[1]d = VALUES(c%[1]d)", i))
	}
	some := func() string {
		var rows [][]string
		for n := range 600 {
			row := []string{strconv.Itoa(n)}
			for _, value := range make {
				if r.IntN(8) == 0 {
					row = append(row, "NULL")
				} else {
					row = append(row, value())
				}
			}
			rows = append(rows, row)
		}
		return "SET time_zone = '+00:00'; INSERT INTO random VALUES " + values(rows)
	}
	db.sameAsSelected(t, "random", some(), settings{"time_zone": "+00:00"}, Options{})
	db.changedAsSelected(t, "random", some()+" ON DUPLICATE KEY UPDATE "+strings.Join(updates, ", "), settings{"time_zone": "+00:00"}, Options{})
}
