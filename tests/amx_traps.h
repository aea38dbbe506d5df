/* The instructions of amx_model.h where the CPU has none of them: each ends in a signal (SIGILL), whose handler reads
 * the instruction, does it in the model, and goes on behind it. So what a compiler made of a kernel on tiles runs on
 * any x86-64 with Linux, word for word, about a microsecond each. */
#ifndef TESTS_AMX_TRAPS_H
#define TESTS_AMX_TRAPS_H

#include "amx_model.h"

#if defined(__x86_64__) && defined(__linux__)
#include <signal.h>
#include <ucontext.h>

/* What a byte of ModRM and what follows it address; at points behind them on return. */
struct address {
    uint8_t *base; /* with the displacement */
    size_t index;  /* scaled */
    const uint8_t *end;
};

static struct address read_address(const ucontext_t *context, const uint8_t *modrm, int base_high, int index_high) {
    static const int registers[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                    REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    const greg_t *value = context->uc_mcontext.gregs;
    int mod = *modrm >> 6, rm = *modrm & 7;
    const uint8_t *at = modrm + 1;
    int64_t base = 0, index = 0;
    int32_t far = 0;
    if (rm == 4) {
        int sib = *at++;
        rm = sib & 7;
        if ((sib >> 3 & 7) != 4 || index_high) index = value[registers[(sib >> 3 & 7) + index_high]] << (sib >> 6);
        if (rm != 5 || mod) base = value[registers[rm + base_high]];
    } else if (rm != 5 || mod) base = value[registers[rm + base_high]];
    if (mod == 1) far = (int8_t)*at++;
    else if (mod == 2 || (rm == 5 && !mod)) memcpy(&far, at, sizeof far), at += 4;
    if (!mod && (*modrm & 7) == 5) base = (int64_t)(intptr_t)at; /* relative to what comes next */
    return (struct address){(uint8_t *)(intptr_t)(base + far), (size_t)index, at};
}

enum { CONFIGURE = 0x49, LOAD_OR_STORE = 0x4b, BFLOATS = 0x5c, BYTES = 0x5e };

/* One instruction of VEX.128.0F38.W0; which of its opcode is told by the prefix that it stands for: none, 66, F3, F2.
 * Returns where the next one is; NULL: none of ours. */
static const uint8_t *emulate(const ucontext_t *context, const uint8_t *at) {
    enum { NONE, X66, XF3, XF2 };
    if (at[0] != 0xc4 || (at[1] & 0x1f) != 2 || (at[2] & 0x84)) return NULL;
    int prefix = at[2] & 3, third = ~at[2] >> 3 & 15, opcode = at[3], reg = at[4] >> 3 & 7, rm = at[4] & 7;
    bool of_registers = at[4] >> 6 == 3, ok = false;
    struct address memory = {0};
    if (!of_registers) memory = read_address(context, at + 4, at[1] & 0x20 ? 0 : 8, at[1] & 0x40 ? 0 : 8);
    if (of_registers && opcode == CONFIGURE && prefix == XF2) ok = amx_model_zero(reg);
    else if (of_registers && opcode == CONFIGURE && prefix == NONE) amx_model_release(), ok = true;
    else if (of_registers && opcode == BYTES && prefix == X66) ok = amx_model_tdpbusd(reg, rm, third);
    else if (of_registers && opcode == BFLOATS && prefix == XF3) ok = amx_model_tdpbf16ps(reg, rm, third);
    else if (!of_registers && opcode == CONFIGURE && prefix == NONE)
        ok = amx_model_configure((const struct tile_shapes *)memory.base);
    else if (!of_registers && opcode == LOAD_OR_STORE && prefix == XF3)
        ok = amx_model_store(reg, memory.base, memory.index);
    else if (!of_registers && opcode == LOAD_OR_STORE && (prefix == XF2 || prefix == X66))
        ok = amx_model_load(reg, memory.base, memory.index);
    return !ok ? NULL : of_registers ? at + 5 : memory.end;
}

static void on_illegal_instruction(int number, siginfo_t *info, void *state) {
    ucontext_t *context = state;
    greg_t *at = &context->uc_mcontext.gregs[REG_RIP];
    const uint8_t *next = emulate(context, (const uint8_t *)(intptr_t)*at);
    (void)info;
    if (next) *at = (greg_t)(intptr_t)next;
    else signal(number, SIG_DFL); /* it comes again, and ends the program */
}

static void set_traps(void) { /* after cmocka, which sets its own before each test */
    struct sigaction action = {.sa_sigaction = on_illegal_instruction, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &action, NULL);
}

#else
static void set_traps(void) {}
#endif
#endif
