/* Heat flow in a metal rod, compared with temperatures that were measured in it.

   One end of the rod is held at 100 degrees from time 0 on. The other end is insulated, or loses
   heat to the air. Explicit finite differences of  rho c dT/dt = k d2T/dx2.

   Reads rod.in and measured.txt, writes result.json with the root mean square difference.
   Exit code 1: wrong input.  Compile: cc -O2 -o rod rod.c -lm */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CELLS 40

static const double LENGTH = 0.2;       /* m */
static const double CAPACITY = 3.5e6;   /* rho c, J / (m3 K) */
static const double AIR = 20, HOT = 100; /* degrees Celsius */

static void quit(const char *problem, const char *where)
{
    fprintf(stderr, "rod: %s %s\n", problem, where);
    exit(1);
}

/* Let the temperatures T of the cells change for some seconds; return the number of steps. */
static int heat(double *T, double conductivity, double loss, double seconds)
{
    double dx = LENGTH / CELLS, next[CELLS];
    int steps = 1 + (int)(seconds * conductivity / CAPACITY / (0.4 * dx * dx));
    double dt = seconds / steps;
    for (int step = 0; step < steps; step++) {
        for (int i = 0; i < CELLS; i++) {
            double in = i == 0 ? 2 * conductivity * (HOT - T[0]) / dx
                               : conductivity * (T[i - 1] - T[i]) / dx;
            double out = i == CELLS - 1 ? loss * (T[i] - AIR)
                                        : conductivity * (T[i] - T[i + 1]) / dx;
            next[i] = T[i] + dt * (in - out) / (CAPACITY * dx);
        }
        memcpy(T, next, sizeof next);
    }
    return steps;
}

int main(void)
{
    double conductivity, loss, seconds, x, measured, sum = 0, T[CELLS];
    char end[20];
    int n = 0;

    FILE *in = fopen("rod.in", "r");
    if (!in)
        quit("cannot read", "rod.in");
    if (fscanf(in, "conductivity %lf end %19s loss %lf seconds %lf", &conductivity, end, &loss,
               &seconds) != 4)
        quit("a value is missing in", "rod.in");
    if (strcmp(end, "insulated") && strcmp(end, "air"))
        quit("no such end:", end);

    for (int i = 0; i < CELLS; i++)
        T[i] = AIR;
    int steps = heat(T, conductivity, strcmp(end, "air") ? 0 : loss, seconds);

    FILE *sensors = fopen("measured.txt", "r");
    if (!sensors)
        quit("cannot read", "measured.txt");
    while (fscanf(sensors, "%lf %lf", &x, &measured) == 2) {
        double there = T[(int)(x / LENGTH * CELLS)];
        printf("at %.3f m: %.2f degrees, measured %.2f\n", x, there, measured);
        sum += (there - measured) * (there - measured);
        n++;
    }
    if (n == 0)
        quit("no temperatures in", "measured.txt");

    FILE *result = fopen("result.json", "w");
    if (!result)
        quit("cannot write", "result.json");
    fprintf(result, "{\"steps\": %d, \"difference\": {\"rms\": %.17g}}\n", steps, sqrt(sum / n));
    return 0;
}
