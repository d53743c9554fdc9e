/* Draws estimates, one a line on standard input, as bars around pi. */

#include <stdio.h>

enum { BARS = 21 };

int main(void) {
    const double middle = 3.141592653589793, width = 0.001;
    int bars[BARS] = {0};
    double estimate;
    while (scanf("%*[^,],%*d,%lf", &estimate) == 1) {
        int bar = (int)((estimate - middle) / width + BARS / 2.0);
        bars[bar < 0 ? 0 : bar >= BARS ? BARS - 1 : bar]++;
        if (getchar() == EOF) break;
    }
    for (int bar = 0; bar < BARS; bar++) {
        printf("%.4f ", middle + (bar - BARS / 2) * width);
        for (int run = 0; run < bars[bar]; run++) putchar('#');
        putchar('\n');
    }
    return 0;
}
