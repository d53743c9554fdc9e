/* Never ends by itself. */

int main(void) {
    for (volatile unsigned turn = 0;; turn++) {
    }
}
