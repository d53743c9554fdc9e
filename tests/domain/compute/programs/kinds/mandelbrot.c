/* Escape times: where one wrong bit of a double is another picture (a fused multiply-add would be one). */

#include <stdio.h>

int main(void) {
    for (int row = 0; row < 40; row++) {
        for (int column = 0; column < 80; column++) {
            double cx = column / 40.0 - 1.5, cy = row / 20.0 - 1.0, x = 0, y = 0;
            int turn = 0;
            for (; turn < 200 && x * x + y * y < 4; turn++) {
                double next = x * x - y * y + cx;
                y = 2 * x * y + cy, x = next;
            }
            putchar(' ' + turn % 95);
        }
        putchar('\n');
    }
}
