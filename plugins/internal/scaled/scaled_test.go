package scaled

import (
	"math/big"
	"math/rand/v2"
	"testing"
)

// TestIntegers: random numbers of every length and scale come out as math/big says.
func TestIntegers(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	some := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = '0' + byte(random.IntN(10))
		}
		return b
	}
	signed := func(words []uint64) *big.Int {
		n := new(big.Int)
		for i := len(words) - 1; i >= 0; i-- {
			n.Or(n.Lsh(n, 64), new(big.Int).SetUint64(words[i]))
		}
		if words[len(words)-1]>>63 == 1 {
			n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(64*len(words))))
		}
		return n
	}
	for range 20_000 {
		digits := 1 + random.IntN(76)
		scale := random.IntN(digits + 1)
		whole, fraction, negative := some(random.IntN(digits-scale+1)), some(random.IntN(scale+1)), random.IntN(2) == 1
		want, _ := new(big.Int).SetString("0"+string(whole)+string(fraction), 10)
		want.Mul(want, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale-len(fraction))), nil))
		if negative {
			want.Neg(want)
		}
		w := Int256(whole, fraction, scale, negative)
		if got := signed(w[:]); got.Cmp(want) != 0 {
			t.Fatalf("%s.%s × 10^%d is %s, want %s", whole, fraction, scale, got, want)
		}
		if digits <= 38 {
			hi, lo := Int128(whole, fraction, scale, negative)
			if got := signed([]uint64{lo, hi}); got.Cmp(want) != 0 {
				t.Fatalf("%s.%s × 10^%d is %s in 128 bits, want %s", whole, fraction, scale, got, want)
			}
		}
	}
}
