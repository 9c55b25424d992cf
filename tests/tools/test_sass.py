"""bench.sass on a piece of disassembled code: loops, kinds, registers."""

from bench import sass

# Two loops, one within the other, as cuobjdump prints them; the second line of each instruction is its upper half.
TEXT = """
	code for sm_90a
		Function : _Z3addPf
	.headerflags	@"EF_CUDA_SM90"
        /*0000*/                   LDC R1, c[0x0][0x28] ;                    /* 0x00000a00ff017b82 */
                                                                             /* 0x000fe20000000800 */
        /*0010*/                   MOV R2, 0x1 ;                             /* 0x0000000100027802 */
        /*0020*/              @!P0 LDG.E.64 R4, desc[UR4][R2.64] ;           /* 0x0000000402048981 */
        /*0030*/                   HMMA.16816.F32.BF16 R8, R4, R6, R8 ;      /* 0x000000060408723c */
        /*0040*/                   MUFU.EX2 R5, R5 ;                         /* 0x0000000500057308 */
        /*0050*/               @P1 BRA 0x30 ;                                /* 0xfffffffc00f41947 */
        /*0060*/                   FADD R4, R4, 1 ;                          /* 0x3f80000004047421 */
        /*0070*/             @!UP1 BRA 0x20 ;                                /* 0xfffffffc00ec8947 */
        /*0080*/                   EXIT ;                                    /* 0x000000000000794d */
        /*0090*/                   BRA 0x90;                                 /* 0xfffffffc00fc7947 */
        /*00a0*/                   NOP;                                      /* 0x0000000000007918 */
"""

USAGE = """
ptxas info    : Compiling entry function '_Z3addPf' for 'sm_90a'
ptxas info    : Function properties for _Z3addPf
    16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 16 bytes cumulative stack size
"""


def test_loops_have_their_own_instructions_alone():
    code = sass.read_sass(TEXT)
    assert list(code) == ["_Z3addPf"] and len(code["_Z3addPf"]) == 11
    inner, outer = sass.loops_of(code["_Z3addPf"])
    assert inner.instructions == 3 and inner.kinds == {"products": 1, "special": 1, "barrier": 1}
    assert outer.instructions == 3 and outer.kinds == {"global": 1, "multiply-add": 1, "barrier": 1}


def test_registers_and_spills():
    assert sass.read_usage(USAGE) == {"_Z3addPf": (40, 20)}


def test_every_opcode_has_a_kind():
    kinds = {
        "LDS.128": "shared",
        "LDGSTS.E": "shared",
        "STL": "local",
        "F2FP.BF16.F32.PACK_AB": "convert",
        "IMAD.WIDE": "integer",
    }
    assert {opcode: sass.kind_of(opcode) for opcode in kinds} == kinds
