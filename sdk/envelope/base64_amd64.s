#include "textflag.h"

// Base64 of 24 bytes at a time, as Wojciech Mula and Daniel Lemire describe it in "Faster Base64 Encoding and Decoding
// using AVX2 Instructions" (ACM Transactions on the Web, 2018). Each half of a register has twelve bytes, which become
// sixteen letters.

// spread puts three bytes a, b, c as b, a, c, b, so that each letter's six bits lie in one word of 16 bits.
DATA spread<>+0(SB)/8, $0x0405030401020001
DATA spread<>+8(SB)/8, $0x0a0b090a07080607
DATA spread<>+16(SB)/8, $0x0405030401020001
DATA spread<>+24(SB)/8, $0x0a0b090a07080607
GLOBL spread<>(SB), RODATA|NOPTR, $32

// The bits of the first and the third letter of four, and what multiplies them to the low end of a byte; then the
// same of the second and the fourth.
DATA oddBits<>+0(SB)/4, $0x0fc0fc00
GLOBL oddBits<>(SB), RODATA|NOPTR, $4
DATA oddFactors<>+0(SB)/4, $0x04000040
GLOBL oddFactors<>(SB), RODATA|NOPTR, $4
DATA evenBits<>+0(SB)/4, $0x003f03f0
GLOBL evenBits<>(SB), RODATA|NOPTR, $4
DATA evenFactors<>+0(SB)/4, $0x01000010
GLOBL evenFactors<>(SB), RODATA|NOPTR, $4

// Which of the ranges of the alphabet six bits fall into: 13 for A to Z, 0 for a to z, 1 to 10 for digits, 11 and 12 for
// the last two. Offsets is what is added to the bits in each.
DATA fiftyOne<>+0(SB)/4, $0x33333333
GLOBL fiftyOne<>(SB), RODATA|NOPTR, $4
DATA twentySix<>+0(SB)/4, $0x1a1a1a1a
GLOBL twentySix<>(SB), RODATA|NOPTR, $4
DATA thirteen<>+0(SB)/4, $0x0d0d0d0d
GLOBL thirteen<>(SB), RODATA|NOPTR, $4
DATA offsets<>+0(SB)/8, $0xfcfcfcfcfcfcfc47
DATA offsets<>+8(SB)/8, $0x000041f0edfcfcfc
DATA offsets<>+16(SB)/8, $0xfcfcfcfcfcfcfc47
DATA offsets<>+24(SB)/8, $0x000041f0edfcfcfc
GLOBL offsets<>(SB), RODATA|NOPTR, $32

// func putAVX2(out, src *byte, n int)
TEXT ·putAVX2(SB), NOSPLIT, $0-24
	MOVQ out+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
	VMOVDQU spread<>(SB), Y8
	VPBROADCASTD oddBits<>(SB), Y9
	VPBROADCASTD oddFactors<>(SB), Y10
	VPBROADCASTD evenBits<>(SB), Y11
	VPBROADCASTD evenFactors<>(SB), Y12
	VPBROADCASTD fiftyOne<>(SB), Y13
	VPBROADCASTD twentySix<>(SB), Y14
	VPBROADCASTD thirteen<>(SB), Y15
	VMOVDQU offsets<>(SB), Y7

next:
	VMOVDQU (SI), X0
	VINSERTI128 $1, 12(SI), Y0, Y0
	VPSHUFB Y8, Y0, Y0

	// Six bits in each byte.
	VPAND Y9, Y0, Y1
	VPMULHUW Y10, Y1, Y1
	VPAND Y11, Y0, Y0
	VPMULLW Y12, Y0, Y0
	VPOR Y1, Y0, Y0

	// Their range, and the letter.
	VPSUBUSB Y13, Y0, Y1
	VPCMPGTB Y0, Y14, Y2
	VPAND Y15, Y2, Y2
	VPOR Y2, Y1, Y1
	VPSHUFB Y1, Y7, Y1
	VPADDB Y1, Y0, Y0
	VMOVDQU Y0, (DI)

	ADDQ $24, SI
	ADDQ $32, DI
	DECQ CX
	JNZ next
	VZEROUPPER
	RET
