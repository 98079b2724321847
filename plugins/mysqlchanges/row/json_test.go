package row

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// randomJSON makes the text of a document.
func randomJSON(r *rand.Rand, depth int) string {
	kinds := 7
	if depth > 0 {
		kinds = 10
	}
	switch r.IntN(kinds) {
	case 0:
		return [...]string{"null", "true", "false"}[r.IntN(3)]
	case 1:
		return strconv.FormatInt(int64(r.Uint64())>>r.IntN(64), 10)
	case 2:
		return strconv.FormatUint(r.Uint64()>>r.IntN(64), 10)
	case 3:
		return randomDouble(r)
	case 4, 5:
		return quote(randomText(r, 300))
	case 6:
		return strconv.FormatFloat(float64(r.IntN(2e6)-1e6)/math.Pow(10, float64(r.IntN(8))), 'f', -1, 64)
	case 7:
		var list []string
		for range r.IntN(12) {
			list = append(list, randomJSON(r, depth-1))
		}
		return "[" + strings.Join(list, ",") + "]"
	}
	var list []string
	for range r.IntN(12) {
		list = append(list, quote(randomText(r, 20))+":"+randomJSON(r, depth-1))
	}
	return "{" + strings.Join(list, ",") + "}"
}

func randomDouble(r *rand.Rand) string {
	for {
		f := math.Float64frombits(r.Uint64())
		if r.IntN(2) == 0 {
			f = r.NormFloat64() * math.Pow(10, float64(r.IntN(40)-20))
		}
		if !math.IsInf(f, 0) && !math.IsNaN(f) {
			return strconv.FormatFloat(f, 'e', -1, 64)
		}
	}
}

func randomText(r *rand.Rand, most int) string {
	var b strings.Builder
	for range r.IntN(most) {
		switch r.IntN(8) {
		case 0:
			b.WriteRune(rune(r.IntN(0x20)))
		case 1:
			b.WriteRune([]rune(`"\/é日🙂`)[r.IntN(6)])
		case 2:
			b.WriteRune(rune(0x80 + r.IntN(0xd000)))
		default:
			b.WriteRune(rune(0x20 + r.IntN(0x60)))
		}
	}
	return b.String()
}

// quote writes a text as JSON.
func quote(text string) string {
	quoted, _ := json.Marshal(text)
	return string(quoted)
}

// literal quotes a text for SQL.
func literal(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`, "\x00", `\0`).Replace(text) + "'"
}

// testJSON compares MySQL's binary documents with the text that the server gives.
func testJSON(t *testing.T, db logged) {
	db.Exec("CREATE TABLE documents (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, js JSON)")
	special := []string{
		"CAST(CAST(-0.50 AS DECIMAL(10,2)) AS JSON)", "CAST(CAST(0 AS DECIMAL(10,2)) AS JSON)", "CAST(CAST('12345678901234567890123456789012345.123456789012345678901234567890' AS DECIMAL(65,30)) AS JSON)",
		"CAST(CAST(100 AS DECIMAL(65,0)) AS JSON)", "CAST(CAST(0.1 AS DECIMAL(30,30)) AS JSON)", "JSON_ARRAY(1.0, 1.50, 1e0, 1e1, -1e-1)",
		"CAST(DATE'2024-02-29' AS JSON)", "CAST(TIMESTAMP'2024-02-29 12:34:56.789' AS JSON)", "CAST(TIMESTAMP'2024-02-29 12:34:56' AS JSON)", "CAST(TIME'-838:59:58.5' AS JSON)", "CAST(TIME'01:02:03' AS JSON)",
		"JSON_ARRAY(CAST('9999-12-31 23:59:59.999999' AS DATETIME(6)), CAST('0000-00-00' AS DATE))",
		"CAST(x'00ff' AS JSON)", "JSON_ARRAY(REPEAT(x'61', 56), REPEAT(x'61', 57), REPEAT(x'61', 58), REPEAT(x'ff', 200), x'')",
		"JSON_OBJECT('bit', b'101', 'year', CAST(2024 AS YEAR), 'g', ST_GeomFromText('POINT(1 2)'), 'e', '')",
		"'[]'", "'{}'", "'\"\"'", "'null'", "'{\"\": {\"\": []}}'", "NULL", "'[-0.0, 0.0, 0e0, -0, 1e-400]'",
		"CONCAT(REPEAT('[', 100), REPEAT(']', 100))", "CONCAT(REPEAT('{\"a\":', 99), '1', REPEAT('}', 99))",
		"CONCAT('[', REPEAT('1,', 40000), '1]')", "CONCAT('[', REPEAT('1234567,', 40000), '\"x\"]')", "CONCAT('[', REPEAT('\"abc\",', 40000), 'null]')",
		"CONCAT('{\"big\": \"', REPEAT('z', 70000), '\", \"n\": -2147483648, \"u\": 4294967295, \"s\": -32768, \"w\": 65535, \"t\": true, \"o\": {\"a\": 1}}')",
		"CONCAT('\"', REPEAT('ü', 20000), '\"')",
		"JSON_OBJECT(REPEAT('k', 60000), 1, 'b', 2)", "JSON_ARRAY(18446744073709551615, 9223372036854775808, -9223372036854775808, 32767, 32768, 65535, 65536, -32769)",
	}
	var rows [][]string
	for _, text := range special {
		rows = append(rows, []string{text})
	}
	for exponent := -1074; exponent < 1024; exponent += 3 {
		var list []string
		for i := range 3 {
			f := math.Ldexp(1, exponent+i)
			if !math.IsInf(f, 0) && f != 0 {
				list = append(list, fmt.Sprintf("%.17e", f), fmt.Sprintf("%.17e", math.Nextafter(f, 0)))
			}
		}
		for i := -1; i < 2; i++ {
			if p := exponent/4 + i; p > -300 && p < 300 {
				list = append(list, "1e"+strconv.Itoa(p), "-12345e"+strconv.Itoa(p))
			}
		}
		rows = append(rows, []string{literal("[" + strings.Join(list, ",") + "]")})
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 1500 {
		rows = append(rows, []string{literal(randomJSON(r, 5))})
	}
	changes := "INSERT INTO documents (js) VALUES " + values(rows) + ";"
	got := db.sameAsSelected(t, "documents", changes, nil, Options{})
	if got.NumRows() != int64(len(rows)) {
		t.Errorf("%d rows, want %d", got.NumRows(), len(rows))
	}
}
