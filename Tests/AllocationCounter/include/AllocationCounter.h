// SPDX-License-Identifier: Apache-2.0

// Counts the allocations of the calling thread. This library replaces malloc(3) and its kin in each program that links
// it. Sanitizers replace these functions, too: nothing is counted under a sanitizer.
#pragma once

// Whether allocations are counted in this program.
int allocation_counter_works(void);
// Starts counting at 0.
void allocation_counter_start(void);
// Stops counting, and returns the number of allocations since the start.
long allocation_counter_stop(void);
