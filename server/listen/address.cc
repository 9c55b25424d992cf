#include "server/listen/address.h"

#include "absl/strings/numbers.h"

namespace longtake::server {

bool SplitAddress(const std::string& address, std::string& host, std::string& port) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return false;
  host = address.substr(0, colon);
  port = address.substr(colon + 1);
  int number = 0;
  if (!absl::SimpleAtoi(port, &number) || number < 0 || number > 65535) return false;
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    return true;
  }
  return host.find(':') == std::string::npos;
}

absl::Status NoAddress() { return absl::UnavailableError("it is not host:port, [address]:port or unix:path"); }

}  // namespace longtake::server
