// Syncs of this process that fail on demand, whichever library asks for them: the functions of the C library are
// replaced in the test's executable.
//
// Threads: safe from any thread.
#pragma once

namespace foreshore {

// The next `count` calls of fsync() and fdatasync() fail with EIO; 0 ends it. Resets FailedSyncCount().
void FailSyncs(int count);
int FailedSyncCount();
// From now on syncs say ok and do nothing, for tests in which no power is cut and that open many stores.
void SkipSyncs();

}  // namespace foreshore
