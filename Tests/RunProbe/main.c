// SPDX-License-Identifier: Apache-2.0

// A program written for /dev/liveupdate, for the tests of `luoctl run`. It follows only the device's documentation, and
// includes nothing from this package. Each scenario is a function. The first wrong result ends it.
#include "probe.h"

int main(int count, char **arguments) {
    const char *name = count > 1 ? arguments[1] : "";
    const char *value = count > 2 ? arguments[2] : "";
    if (strcmp(name, "life") == 0) life();
    else if (strcmp(name, "first-stage") == 0) first_stage(value);
    else if (strcmp(name, "second-stage") == 0) second_stage(value);
    else if (strcmp(name, "order") == 0) order();
    else if (strcmp(name, "names") == 0) names();
    else if (strcmp(name, "answers") == 0) answers();
    else if (strcmp(name, "opens") == 0) opens();
    else if (strcmp(name, "inherited") == 0) inherited(value);
    else if (strcmp(name, "paths") == 0) paths(value);
    else if (strcmp(name, "threads") == 0) threads();
    else if (strcmp(name, "many") == 0) many();
    else if (strcmp(name, "interrupted") == 0) interrupted();
    else if (strcmp(name, "foreign") == 0) foreign();
    else if (strcmp(name, "busy") == 0) busy();
    else if (strcmp(name, "crowd") == 0) crowd();
    else if (strcmp(name, "stolen") == 0) stolen();
    else if (strcmp(name, "kernel") == 0) kernel(value);
    else if (strcmp(name, "without") == 0 && count > 4) without(value, arguments[3], arguments + 4);
    else if (strcmp(name, "exit") == 0) return atoi(value);
    else if (strcmp(name, "signal") == 0) raise(atoi(value));
    else return 64;
    printf("ok\n");
    return 0;
}
