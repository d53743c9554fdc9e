/* Pi by throwing darts, and what the C library makes of it: sqrt, sin, exp, log. */

#include <math.h>
#include <stdint.h>
#include <stdio.h>

int main(void) {
    uint64_t state = 42;
    double norms = 0, waves = 0;
    int inside = 0;
    for (int dart = 0; dart < 20000; dart++) {
        double point[2];
        for (int axis = 0; axis < 2; axis++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            point[axis] = (state >> 11) * 0x1p-53;
        }
        inside += point[0] * point[0] + point[1] * point[1] < 1;
        norms += sqrt(-2 * log(point[0] + 1e-300)) * cos(6.283185307179586 * point[1]);
        waves += sin(point[0]) * exp(point[1]) + pow(point[0], point[1]);
    }
    printf("%d %a %a\n", inside, norms, waves);
}
