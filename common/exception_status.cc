#include "common/exception_status.h"

#include <exception>
#include <new>
#include <stdexcept>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace longtake {

absl::Status StatusOfCurrentException() {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("the memory does not suffice");
  } catch (const std::length_error&) {
    return absl::ResourceExhaustedError("the memory does not suffice");
  } catch (const std::system_error& error) {
    if (error.code() == std::errc::resource_unavailable_try_again) {
      return absl::ResourceExhaustedError("the system starts no more threads (ulimit -u, ulimit -v, a pids cgroup)");
    }
    return absl::InternalError(absl::StrCat("an exception: ", error.what()));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("an exception: ", error.what()));
  } catch (...) {
    return absl::InternalError("an exception of an unknown type");
  }
}

}  // namespace longtake
