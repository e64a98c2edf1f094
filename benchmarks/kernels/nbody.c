/* The Jovian planets for n steps (the Computer Language Benchmarks Game's n-body): f64 with divisions and roots. */
#include "kernel.h"

#define PI 3.141592653589793
#define SOLAR_MASS (4 * PI * PI)
#define DAYS 365.24
#define BODIES 5

typedef struct {
    double x, y, z, vx, vy, vz, mass;
} body_t;

static const body_t START[BODIES] = {
    {0, 0, 0, 0, 0, 0, SOLAR_MASS},
    {4.84143144246472090, -1.16032004402742839, -0.103622044471123109, 0.00166007664274403694 * DAYS,
     0.00769901118419740425 * DAYS, -0.0000690460016972063023 * DAYS, 0.000954791938424326609 * SOLAR_MASS},
    {8.34336671824457987, 4.12479856412430479, -0.403523417114321381, -0.00276742510726411021 * DAYS,
     0.00499852801234917238 * DAYS, 0.0000230417297573763929 * DAYS, 0.000285885980666130812 * SOLAR_MASS},
    {12.8943695621391310, -15.1111514016986312, -0.223307578892655734, 0.00296460137564761618 * DAYS,
     0.00237847173959480950 * DAYS, -0.0000296589568540237556 * DAYS, 0.0000436624404335156298 * SOLAR_MASS},
    {15.3796971148509165, -25.9193146099879641, 0.179258772950371181, 0.00268067772490389322 * DAYS,
     0.00162824170038242295 * DAYS, -0.0000951592254519715870 * DAYS, 0.0000515138902046611451 * SOLAR_MASS},
};

static NOINLINE void advance(body_t *bodies, double dt) {
    for (int i = 0; i < BODIES; i++) {
        body_t *a = &bodies[i];
        for (int k = i + 1; k < BODIES; k++) {
            body_t *b = &bodies[k];
            double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
            double squared = dx * dx + dy * dy + dz * dz;
            double magnitude = dt / (squared * __builtin_sqrt(squared));
            a->vx -= dx * b->mass * magnitude;
            a->vy -= dy * b->mass * magnitude;
            a->vz -= dz * b->mass * magnitude;
            b->vx += dx * a->mass * magnitude;
            b->vy += dy * a->mass * magnitude;
            b->vz += dz * a->mass * magnitude;
        }
    }
    for (int i = 0; i < BODIES; i++) {
        bodies[i].x += dt * bodies[i].vx;
        bodies[i].y += dt * bodies[i].vy;
        bodies[i].z += dt * bodies[i].vz;
    }
}

EXPORT(run) int64_t run(int32_t n) {
    body_t bodies[BODIES];
    for (int i = 0; i < BODIES; i++) bodies[i] = START[i];
    for (int32_t i = 0; i < n; i++) advance(bodies, 0.01);
    int64_t sum = 0;
    for (int i = 0; i < BODIES; i++) {
        sum = mix_f64(mix_f64(mix_f64(sum, bodies[i].x), bodies[i].y), bodies[i].z);
        sum = mix_f64(mix_f64(mix_f64(sum, bodies[i].vx), bodies[i].vy), bodies[i].vz);
    }
    return sum;
}
