/* What Python cannot say: a system call by the gate of 32-bit programs. */

long old_call(long number) {
#ifdef __x86_64__
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number) : "memory");
    return result;
#else
    __builtin_trap();
#endif
}
