/* An image, blurred and made smaller with weights in float: conversions both ways, clamping, bytes. */

#include <stdio.h>

int main(void) {
    enum { SIZE = 192, SMALL = 48 };
    static unsigned char image[SIZE][SIZE], small[SMALL][SMALL];
    for (int y = 0; y < SIZE; y++)
        for (int x = 0; x < SIZE; x++) image[y][x] = (unsigned char)(x * y ^ (x + 3 * y));
    for (int y = 0; y < SMALL; y++)
        for (int x = 0; x < SMALL; x++) {
            float sum = 0, weights = 0;
            for (int dy = 0; dy < 4; dy++)
                for (int dx = 0; dx < 4; dx++) {
                    float weight = 1.0f / (1 + dx * dx + dy * dy);
                    sum += weight * image[4 * y + dy][4 * x + dx];
                    weights += weight;
                }
            small[y][x] = (unsigned char)(sum / weights + 0.5f);
        }
    fwrite(small, 1, sizeof small, stdout);
}
