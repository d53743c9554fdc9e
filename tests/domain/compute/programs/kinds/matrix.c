/* Products of matrices of doubles: sums whose order matters to the last bit. */

#include <stdio.h>

#define SIZE 80

int main(void) {
    static double a[SIZE][SIZE], b[SIZE][SIZE], c[SIZE][SIZE];
    for (int i = 0; i < SIZE; i++)
        for (int j = 0; j < SIZE; j++) a[i][j] = 1.0 / (i + j + 1), b[i][j] = (i - j) / 3.0;
    for (int i = 0; i < SIZE; i++)
        for (int k = 0; k < SIZE; k++)
            for (int j = 0; j < SIZE; j++) c[i][j] += a[i][k] * b[k][j];
    for (int i = 0; i < SIZE; i += 7) printf("%a %a\n", c[i][i], c[i][SIZE - 1 - i]);
}
