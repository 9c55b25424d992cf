#include "common/curl_client.h"

#include <curl/curl.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace longtake {
namespace {

// More than any page of ours has, so that no server fills our memory.
constexpr size_t kMostBytes = size_t{64} << 20;

size_t Append(char* bytes, size_t size, size_t count, void* to) {
  auto& body = *static_cast<std::string*>(to);
  if (body.size() + size * count > kMostBytes) return 0;  // an error for curl
  body.append(bytes, size * count);
  return size * count;
}

int Progress(void* aborted, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<std::atomic<bool>*>(aborted)->load() ? 1 : 0;
}

}  // namespace

struct CurlClient::Handle {
  CURL* const curl = curl_easy_init();
  ~Handle() { curl_easy_cleanup(curl); }
};

CurlClient::CurlClient(absl::Duration timeout) : handle_(std::make_unique<Handle>()) {
  CURL* const curl = handle_->curl;
  if (curl == nullptr) return;  // Perform says so
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_PROXY, "");
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS,
                   static_cast<long>(std::max<int64_t>(1, absl::ToInt64Milliseconds(timeout))));
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, Append);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, Progress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &aborted_);
}

CurlClient::~CurlClient() = default;

absl::StatusOr<CurlClient::Answer> CurlClient::Get(const std::string& url, const std::vector<std::string>& headers) {
  if (handle_->curl != nullptr) curl_easy_setopt(handle_->curl, CURLOPT_HTTPGET, 1L);
  return Perform(url, headers);
}

absl::StatusOr<CurlClient::Answer> CurlClient::Post(const std::string& url, const std::string& body,
                                                    const std::vector<std::string>& headers) {
  if (handle_->curl != nullptr) {
    curl_easy_setopt(handle_->curl, CURLOPT_POST, 1L);
    curl_easy_setopt(handle_->curl, CURLOPT_POSTFIELDS, body.data());
    curl_easy_setopt(handle_->curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  }
  return Perform(url, headers);
}

absl::StatusOr<CurlClient::Answer> CurlClient::Perform(const std::string& url,
                                                       const std::vector<std::string>& headers) {
  CURL* const curl = handle_->curl;
  if (curl == nullptr) return absl::UnavailableError("curl cannot be started");
  std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> list(nullptr, curl_slist_free_all);
  for (const std::string& header : headers) {
    curl_slist* const longer = curl_slist_append(list.get(), header.c_str());
    if (longer == nullptr) return absl::ResourceExhaustedError("no memory for headers");
    list.release();
    list.reset(longer);
  }
  Answer answer;
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list.get());
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer.body);
  const CURLcode code = curl_easy_perform(curl);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, nullptr);
  if (code != CURLE_OK) return absl::UnavailableError(absl::StrCat(url, ": ", curl_easy_strerror(code)));
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  answer.status = static_cast<int>(status);
  return answer;
}

}  // namespace longtake
