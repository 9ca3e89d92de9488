// Counts what the calling thread allocates: malloc(3) and its kin, replaced for the whole program that this is linked
// into. Under a sanitizer, which replaces them itself, nothing is counted.
#pragma once

// Whether allocations are counted in this program.
int allocation_counter_works(void);
// Starts counting at 0.
void allocation_counter_start(void);
// Stops, and returns how many there were since.
long allocation_counter_stop(void);
