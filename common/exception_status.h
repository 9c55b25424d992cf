// Exceptions of the standard library as statuses. Longtake's own code throws none.
#ifndef LONGTAKE_COMMON_EXCEPTION_STATUS_H_
#define LONGTAKE_COMMON_EXCEPTION_STATUS_H_

#include "absl/status/status.h"

namespace longtake {

// Of the exception being handled; call it inside a catch block. ResourceExhausted for bad_alloc, for length_error (a
// container longer than any memory) and where the system starts no thread; Internal with its text for any other.
absl::Status StatusOfCurrentException();

}  // namespace longtake

#endif  // LONGTAKE_COMMON_EXCEPTION_STATUS_H_
