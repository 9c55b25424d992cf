#include "tests/server/fake_s3.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace longtake::server {
namespace {

constexpr char kBucket[] = "/videos/";

std::string Decoded(absl::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string ErrorXml(const std::string& code) {
  return absl::StrCat("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>", code, "</Code><Message>", code,
                      " it is</Message></Error>");
}

bool SendAll(int connection, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(connection, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

}  // namespace

FakeS3::FakeS3() {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (bind(listener_, reinterpret_cast<const sockaddr*>(&address), size) != 0 || listen(listener_, 64) != 0) abort();
  if (getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) abort();
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { Accept(); });
}

FakeS3::~FakeS3() {
  {
    const MutexLock lock(mutex_);
    closing_ = true;
    for (const int connection : connections_) shutdown(connection, SHUT_RDWR);
  }
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  std::vector<std::thread> threads;
  {
    const MutexLock lock(mutex_);
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) thread.join();
  close(listener_);
}

void FakeS3::SetFaults(std::function<Fault(const Request&)> faults) {
  const MutexLock lock(mutex_);
  faults_ = std::move(faults);
}

void FakeS3::IgnoreConditions() {
  const MutexLock lock(mutex_);
  keeps_conditions_ = false;
}

std::string FakeS3::endpoint() const { return absl::StrCat("http://127.0.0.1:", port_); }

std::map<std::string, std::string> FakeS3::objects() const {
  const MutexLock lock(mutex_);
  std::map<std::string, std::string> objects;
  for (const auto& [key, object] : objects_) objects[key] = object.bytes;
  return objects;
}

void FakeS3::Write(const std::string& key, const std::string& bytes) {
  const MutexLock lock(mutex_);
  objects_[key] = {bytes, absl::StrCat("\"", ++written_, "\"")};
}

std::vector<FakeS3::Request> FakeS3::requests() const {
  const MutexLock lock(mutex_);
  return requests_;
}

void FakeS3::Accept() {
  for (int connection = 0; (connection = accept(listener_, nullptr, nullptr)) >= 0;) {
    const MutexLock lock(mutex_);
    if (closing_) {
      close(connection);
      return;
    }
    connections_.insert(connection);
    threads_.emplace_back([this, connection] { Serve(connection); });
  }
}

bool FakeS3::Read(int connection, Request& request) {
  std::string bytes;
  std::array<char, 65536> buffer;
  size_t end = std::string::npos, size = 0;
  while (end == std::string::npos || bytes.size() < end + 4 + size) {
    const ssize_t got = recv(connection, buffer.data(), buffer.size(), 0);
    if (got <= 0) return false;
    bytes.append(buffer.data(), static_cast<size_t>(got));
    if (end != std::string::npos) continue;
    end = bytes.find("\r\n\r\n");
    if (end == std::string::npos) continue;
    const std::vector<std::string> lines = absl::StrSplit(bytes.substr(0, end), "\r\n");
    const std::vector<std::string> first = absl::StrSplit(lines[0], ' ');
    const std::pair<std::string, std::string> target = absl::StrSplit(first.at(1), absl::MaxSplits('?', 1));
    request.method = first[0];
    request.key = std::string(absl::StripPrefix(target.first, kBucket));
    for (const absl::string_view each : absl::StrSplit(target.second, '&', absl::SkipEmpty())) {
      const std::pair<std::string, std::string> pair = absl::StrSplit(each, absl::MaxSplits('=', 1));
      request.query[pair.first] = Decoded(pair.second);
    }
    for (size_t i = 1; i < lines.size(); ++i) {
      const std::pair<std::string, std::string> header = absl::StrSplit(lines[i], absl::MaxSplits(':', 1));
      request.headers[absl::AsciiStrToLower(header.first)] = std::string(absl::StripAsciiWhitespace(header.second));
    }
    if (request.headers.contains("content-length")) {
      (void)absl::SimpleAtoi(request.headers["content-length"], &size);
    }
  }
  request.body = bytes.substr(end + 4);
  return true;
}

void FakeS3::Serve(int connection) {
  for (Request request; Read(connection, request); request = {}) {
    Answer answer;
    Fault fault = Fault::kNone;
    std::function<Fault(const Request&)> faults;
    {
      const MutexLock lock(mutex_);
      requests_.push_back(request);
      faults = faults_;
    }
    if (faults) {
      const MutexLock one_at_a_time(calls_mutex_);
      fault = faults(request);
    }
    {
      const MutexLock lock(mutex_);
      switch (fault) {
        case Fault::kBusy:
          answer = {503, ErrorXml("SlowDown")};
          break;
        case Fault::kBroken:
          answer = {500, "a proxy's page"};
          break;
        case Fault::kDenied:
          answer = {403, ErrorXml("AccessDenied")};
          break;
        case Fault::kOldKeys:
          answer = {403, ErrorXml("ExpiredToken")};
          break;
        case Fault::kFull:
          answer = {507, ErrorXml("XMinioStorageFull")};
          break;
        case Fault::kSilence:
          break;
        default:
          answer = Carry(request);
      }
    }
    if (fault == Fault::kLostAnswer) break;
    if (fault == Fault::kSilence) {
      Request never;
      if (!Read(connection, never)) break;
    }
    std::string head = absl::StrCat("HTTP/1.1 ", answer.status, " It is\r\n");
    for (const auto& [name, value] : answer.headers) absl::StrAppend(&head, name, ": ", value, "\r\n");
    if (answer.status != 204) absl::StrAppend(&head, "Content-Length: ", answer.body.size(), "\r\n");
    if (fault == Fault::kCut) {
      SendAll(connection, absl::StrCat(head, "\r\n", answer.body.substr(0, answer.body.size() / 2)));
      break;
    }
    if (!SendAll(connection, absl::StrCat(head, "\r\n", answer.body))) break;
  }
  const MutexLock lock(mutex_);
  connections_.erase(connection);
  close(connection);
}

FakeS3::Answer FakeS3::Carry(const Request& request) {
  if (request.query.contains("list-type")) return List(request);
  if (request.method == "PUT") return Put(request);
  if (request.method == "DELETE") {
    objects_.erase(request.key);
    return {204, ""};
  }
  const auto found = objects_.find(request.key);
  if (found == objects_.end()) return {404, ErrorXml("NoSuchKey")};
  const auto& [bytes, etag] = found->second;
  const auto range = request.headers.find("range");
  if (range == request.headers.end()) return {200, bytes, {{"ETag", etag}}};
  const std::pair<std::string, std::string> ends =
      absl::StrSplit(absl::StripPrefix(range->second, "bytes="), absl::MaxSplits('-', 1));
  size_t first = 0, last = 0;
  if (!absl::SimpleAtoi(ends.first, &first) || !absl::SimpleAtoi(ends.second, &last) || first >= bytes.size()) {
    return {416, ErrorXml("InvalidRange")};
  }
  return {206, bytes.substr(first, last - first + 1), {{"ETag", etag}}};
}

FakeS3::Answer FakeS3::Put(const Request& request) {
  const auto found = objects_.find(request.key);
  const auto condition = [&](const char* name) {
    const auto header = request.headers.find(name);
    return header == request.headers.end() || !keeps_conditions_ ? "" : header->second;
  };
  if (condition("if-none-match") == "*" && found != objects_.end()) return {412, ErrorXml("PreconditionFailed")};
  if (const std::string etag = condition("if-match"); !etag.empty()) {
    if (found == objects_.end()) return {404, ErrorXml("NoSuchKey")};
    if (found->second.etag != etag) return {412, ErrorXml("PreconditionFailed")};
  }
  const std::string etag = absl::StrCat("\"", ++written_, "\"");
  objects_[request.key] = {request.body, etag};
  return {200, "", {{"ETag", etag}}};
}

FakeS3::Answer FakeS3::List(const Request& request) const {
  const auto value = [&](const char* name) {
    const auto found = request.query.find(name);
    return found == request.query.end() ? std::string() : found->second;
  };
  const std::string prefix = value("prefix"), delimiter = value("delimiter"), behind = value("continuation-token");
  size_t most = 1000;
  (void)absl::SimpleAtoi(value("max-keys"), &most);
  std::string xml = "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">", last;
  size_t count = 0;
  for (const auto& [key, object] : objects_) {
    if (!absl::StartsWith(key, prefix)) continue;
    const size_t end = delimiter.empty() ? std::string::npos : key.find(delimiter, prefix.size());
    const std::string name = end == std::string::npos ? key : key.substr(0, end + 1);
    if (name <= behind || name == last) continue;
    if (count++ == most) {
      absl::StrAppend(&xml, "<IsTruncated>true</IsTruncated><NextContinuationToken>", last, "</NextContinuationToken>");
      return {200, xml + "</ListBucketResult>"};
    }
    last = name;
    absl::StrAppend(&xml, end == std::string::npos
                              ? absl::StrCat("<Contents><Key>", name, "</Key></Contents>")
                              : absl::StrCat("<CommonPrefixes><Prefix>", name, "</Prefix></CommonPrefixes>"));
  }
  return {200, xml + "<IsTruncated>false</IsTruncated></ListBucketResult>"};
}

}  // namespace longtake::server
