#include "common/curl_client.h"

#include <curl/curl.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace longtake {
namespace {

// What the callbacks of one request write to.
struct Reading {
  CurlClient::Answer* answer;
  size_t most_bytes;
};

size_t OnBody(char* bytes, size_t size, size_t count, void* to) {
  const auto& reading = *static_cast<Reading*>(to);
  std::string& body = reading.answer->body;
  if (body.size() + size * count > reading.most_bytes) return 0;  // an error for curl
  body.append(bytes, size * count);
  return size * count;
}

// One line of a head. An answer may have several heads (100 Continue): the last one holds.
size_t OnHeader(char* bytes, size_t size, size_t count, void* to) {
  auto& headers = static_cast<Reading*>(to)->answer->headers;
  const std::string line(bytes, size * count);
  if (line.starts_with("HTTP/")) headers.clear();
  if (const size_t colon = line.find(':'); colon != std::string::npos) {
    headers[absl::AsciiStrToLower(line.substr(0, colon))] =
        std::string(absl::StripAsciiWhitespace(absl::string_view(line).substr(colon + 1)));
  }
  return size * count;
}

int Progress(void* aborted, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<std::atomic<bool>*>(aborted)->load() ? 1 : 0;
}

// At least 1, for 0 is curl's word for its own default; a month for what is longer.
long Milliseconds(absl::Duration duration) {
  return static_cast<long>(std::max<int64_t>(1, absl::ToInt64Milliseconds(std::min(duration, absl::Hours(24 * 30)))));
}

}  // namespace

struct CurlClient::Handle {
  CURL* const curl = curl_easy_init();
  ~Handle() { curl_easy_cleanup(curl); }
};

CurlClient::CurlClient(absl::Duration timeout) : CurlClient(Options{.timeout = timeout}) {}

CurlClient::CurlClient(const Options& options) : handle_(std::make_unique<Handle>()), most_bytes_(options.most_bytes) {
  CURL* const curl = handle_->curl;
  if (curl == nullptr) return;  // Send says so
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_PROXY, "");
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, Milliseconds(options.timeout));
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, Milliseconds(std::min(options.timeout, options.connect_timeout)));
  if (options.stall_timeout < absl::InfiniteDuration()) {
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);  // bytes a second
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME,
                     static_cast<long>(std::max<int64_t>(1, absl::ToInt64Seconds(options.stall_timeout))));
  }
  if (!options.authorities.empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, options.authorities.c_str());
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, OnBody);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, OnHeader);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, Progress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &aborted_);
}

CurlClient::~CurlClient() = default;

absl::StatusOr<CurlClient::Answer> CurlClient::Get(const std::string& url, const std::vector<std::string>& headers) {
  return Send({.url = url, .headers = headers});
}

absl::StatusOr<CurlClient::Answer> CurlClient::Post(const std::string& url, const std::string& body,
                                                    const std::vector<std::string>& headers) {
  return Send({.method = "POST", .url = url, .headers = headers, .body = &body});
}

absl::StatusOr<CurlClient::Answer> CurlClient::Send(const Request& request) {
  CURL* const curl = handle_->curl;
  if (curl == nullptr) return absl::UnavailableError("curl cannot be started");
  std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> list(nullptr, curl_slist_free_all);
  for (const std::string& header : request.headers) {
    curl_slist* const longer = curl_slist_append(list.get(), header.c_str());
    if (longer == nullptr) return absl::ResourceExhaustedError("no memory for headers");
    list.release();
    list.reset(longer);
  }
  // curl sends a body in memory as that of a POST only, under any name.
  curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
  if (request.body != nullptr) {
    curl_easy_setopt(curl, CURLOPT_POST, 1L);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body->data());
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body->size()));
  }
  curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  Answer answer;
  Reading reading{&answer, most_bytes_};
  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list.get());
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reading);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &reading);
  const CURLcode code = curl_easy_perform(curl);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, nullptr);
  if (code != CURLE_OK) return absl::UnavailableError(absl::StrCat(request.url, ": ", curl_easy_strerror(code)));
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  answer.status = static_cast<int>(status);
  return answer;
}

}  // namespace longtake
