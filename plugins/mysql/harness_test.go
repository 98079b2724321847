package mysql

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

var discardLog = slog.New(slog.DiscardHandler)

// jsonOf writes settings the way the planner hands them over.
func jsonOf(with settings) ([]byte, error) { return json.Marshal(with) }

// jsonNumber is a number written in a pipeline that a float64 cannot hold.
func jsonNumber(text string) json.Number { return json.Number(text) }

// settings is what a pipeline's `with:` would hold.
type settings map[string]any

// probe is a source under test, and what its environment saw.
type probe struct {
	sdk.Source
	memory *memory.CheckedAllocator

	mu       sync.Mutex
	counters map[string]int64
	facts    map[string]string
	log      strings.Builder
}

// Write receives the log.
func (p *probe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

// complaint is how a source tells that a query goes on, whose session it leaves to its host.
const complaint = `level=WARN msg="the query could not be killed on the server"`

// told is what the source has written to its log.
func (p *probe) told() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// newProbe makes a source from settings. When the test ends, all of its memory
// must be back and no goroutine of its may be left. Those of a test beside it could
// not be told from its own, so it is not for parallel tests.
func newProbe(t testing.TB, with settings) (*probe, error) {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	p := &probe{memory: memory.NewCheckedAllocator(memory.NewGoAllocator()), counters: map[string]int64{}, facts: map[string]string{}}
	raw, err := jsonOf(with)
	if err != nil {
		t.Fatal(err)
	}
	instance, err := Stage().Make(raw, sdk.Env{
		Log:    slog.New(slog.NewTextHandler(p, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Memory: p.memory,
		Count: func(name string, n int64) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.counters[name] += n
		},
		Fact: func(name, value string) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.facts[name] = value
		},
	})
	if err != nil {
		return nil, err
	}
	p.Source = instance.(sdk.Source)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		p.memory.AssertSize(t, 0)
		goleak.VerifyNone(t, ignore)
	})
	return p, nil
}

// table is everything that a source delivered, as text.
type table struct {
	schema *arrow.Schema
	rows   [][]string
	*probe
}

// readAll runs a source to its end.
func readAll(t testing.TB, with settings) (*table, error) {
	t.Helper()
	p, err := newProbe(t, with)
	if err != nil {
		return nil, err
	}
	result := &table{probe: p}
	result.schema, result.rows, _, err = p.read()
	return result, err
}

// read opens the source and reads it to its end. What came before an error is returned
// with it.
func (p *probe) read() (schema *arrow.Schema, rows [][]string, batches int, err error) {
	ctx := context.Background()
	if schema, err = p.Open(ctx); err != nil {
		return nil, nil, 0, err
	}
	for {
		record, err := p.Next(ctx)
		if errors.Is(err, io.EOF) {
			return schema, rows, batches, nil
		}
		if err != nil {
			return schema, rows, batches, err
		}
		batches++
		for row := range int(record.NumRows()) {
			cells := make([]string, record.NumCols())
			for i := range cells {
				cells[i] = strings.Clone(cell(record.Column(i), row, schema.Field(i))) // texts alias the record
			}
			rows = append(rows, cells)
		}
		record.Release()
	}
}

func mustRead(t testing.TB, with settings) *table {
	t.Helper()
	result, err := readAll(t, with)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return result
}

// wantFault checks an error's code, and that it holds no password.
func wantFault(t testing.TB, err error, code string) *fault.Fault {
	t.Helper()
	var f *fault.Fault
	if !errors.As(err, &f) {
		t.Fatalf("error is %v, want fault %s", err, code)
	}
	if f.Code != code {
		t.Fatalf("fault is %v (hint %q), want %s", f, f.Hint, code)
	}
	return f
}

// cell writes a value the way the server's text protocol does; bytes in hexadecimal.
func cell(a arrow.Array, i int, field arrow.Field) string {
	if a.IsNull(i) {
		return "NULL"
	}
	fraction := 0
	if v, ok := field.Metadata.GetValue(sdk.MetaFraction); ok {
		fraction, _ = strconv.Atoi(v)
	}
	switch a := a.(type) {
	case *array.Null:
		return "NULL"
	case *array.Int8:
		return strconv.Itoa(int(a.Value(i)))
	case *array.Int16:
		return strconv.Itoa(int(a.Value(i)))
	case *array.Int32:
		return strconv.Itoa(int(a.Value(i)))
	case *array.Int64:
		return strconv.FormatInt(a.Value(i), 10)
	case *array.Uint8:
		return strconv.Itoa(int(a.Value(i)))
	case *array.Uint16:
		return strconv.Itoa(int(a.Value(i)))
	case *array.Uint32:
		return strconv.FormatUint(uint64(a.Value(i)), 10)
	case *array.Uint64:
		return strconv.FormatUint(a.Value(i), 10)
	case *array.Float32:
		return strconv.FormatFloat(float64(a.Value(i)), 'g', -1, 32)
	case *array.Float64:
		return strconv.FormatFloat(a.Value(i), 'g', -1, 64)
	case *array.Decimal128:
		return point(a.Value(i).BigInt(), int(a.DataType().(*arrow.Decimal128Type).Scale))
	case *array.Decimal256:
		return point(a.Value(i).BigInt(), int(a.DataType().(*arrow.Decimal256Type).Scale))
	case *array.Date32:
		return time.Unix(int64(a.Value(i))*86400, 0).UTC().Format("2006-01-02")
	case *array.Timestamp:
		unit := a.DataType().(*arrow.TimestampType).Unit
		return a.Value(i).ToTime(unit).Format("2006-01-02 15:04:05" + digits(fraction))
	case *array.Duration:
		unit := a.DataType().(*arrow.DurationType).Unit
		d := time.Duration(a.Value(i)) * unit.Multiplier()
		sign := ""
		if d < 0 {
			sign, d = "-", -d
		}
		text := fmt.Sprintf("%s%02d:%02d:%02d", sign, d/time.Hour, d/time.Minute%60, d/time.Second%60)
		if fraction > 0 {
			text += ("." + fmt.Sprintf("%06d", d/time.Microsecond%1e6))[:fraction+1]
		}
		return text
	case *array.String:
		return a.Value(i)
	case *array.Binary:
		return strings.ToUpper(hex.EncodeToString(a.Value(i)))
	}
	return fmt.Sprintf("unexpected %T", a)
}

func digits(n int) string {
	if n == 0 {
		return ""
	}
	return "." + strings.Repeat("0", n)
}

func point(n *big.Int, scale int) string {
	text := new(big.Int).Abs(n).String()
	if len(text) <= scale {
		text = strings.Repeat("0", scale-len(text)+1) + text
	}
	if scale > 0 {
		text = text[:len(text)-scale] + "." + text[len(text)-scale:]
	}
	if n.Sign() < 0 {
		text = "-" + text
	}
	return text
}
