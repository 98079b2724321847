package sandbox

// money is an amount in 1/10000 of an Australian dollar, GST included: what a
// DECIMAL(12,4) of the ledger holds. Nothing about money is ever a float.
type money int64

const (
	cent   money = 100
	dollar       = 100 * cent
)

// ledger is the amount as a DECIMAL(12,4).
func (m money) ledger() Value { return Value{Kind: Decimal, Scale: 4, N: int64(m)} }

// price is the amount, of whole cents, as a DECIMAL(12,2).
func (m money) price() Value { return Value{Kind: Decimal, Scale: 2, N: int64(m / cent)} }

// ledgerUnless is NULL for an amount that is absent.
func (m money) ledgerUnless(absent bool) Value {
	if absent {
		return Value{}
	}
	return m.ledger()
}

// share is a percentage in 1/10000 of a percent: what a DECIMAL(7,4) holds.
type share int64

const (
	percentage share = 10_000 // one percent
	whole            = 100 * percentage
)

func (s share) value() Value { return Value{Kind: Decimal, Scale: 4, N: int64(s)} }

// of is that share of an amount, rounded half up. Amounts here stay far below
// 2^63 / whole, which is 922 million dollars.
func (s share) of(m money) money { return money(divide(int64(m)*int64(s), int64(whole))) }

// cents is the share of an amount in whole cents, rounded down.
func (s share) cents(m money) money { return m * money(s) / money(whole) / cent * cent }

// gst is the tax in an amount that holds it: an eleventh, rounded half up.
func (m money) gst() money { return money(divide(int64(m), 11)) }

// divide rounds half up; n isn't negative.
func divide(n, by int64) int64 { return (n + by/2) / by }
