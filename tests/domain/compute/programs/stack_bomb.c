/* Calls itself until the stack of the machine ends: in frames of the engine, not in its own memory. */

static unsigned deeper(unsigned turn);
static unsigned (*volatile next)(unsigned) = deeper;

static unsigned deeper(unsigned turn) { return next(turn + 1) + turn; }

int main(void) { return (int)deeper(0); }
