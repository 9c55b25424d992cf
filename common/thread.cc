#include "common/thread.h"

#include <string>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"

namespace longtake {

absl::StatusOr<std::thread> StartThread(std::string_view name, std::function<void()> body) {
  try {
    return std::thread(std::move(body));
  } catch (const std::system_error& error) {
    return absl::ResourceExhaustedError(
        absl::StrCat(std::string(name), ": cannot start a thread: ", error.code().message()));
  }
}

}  // namespace longtake
