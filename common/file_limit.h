// How many files this process may have open.
#ifndef LONGTAKE_COMMON_FILE_LIMIT_H_
#define LONGTAKE_COMMON_FILE_LIMIT_H_

#include <cstdint>

namespace longtake {

// Raises the soft limit (ulimit -n) to the hard one, because every connection is an open file and shells give a process
// 1,024 unless it asks for more. Returns the limit that holds then; 0 if the system does not say.
uint64_t RaiseFileLimit();

}  // namespace longtake

#endif  // LONGTAKE_COMMON_FILE_LIMIT_H_
