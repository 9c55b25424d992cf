#include "server/store/s3/answers.h"

#include <tinyxml2.h>

#include <algorithm>
#include <array>

namespace longtake::server {
namespace {

using tinyxml2::XMLElement;

// Of the first child of this name; empty: there is none, or it has none.
std::string TextOf(const XMLElement& parent, const char* name) {
  const XMLElement* const child = parent.FirstChildElement(name);
  const char* const text = child == nullptr ? nullptr : child->GetText();
  return text == nullptr ? "" : text;
}

template <size_t N>
bool IsOneOf(const std::string& word, const std::array<const char*, N>& words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

}  // namespace

absl::StatusOr<ListedPage> ParseListing(const std::string& xml) {
  tinyxml2::XMLDocument document;
  if (document.Parse(xml.data(), xml.size()) != tinyxml2::XML_SUCCESS) return absl::DataLossError("a list is no XML");
  const XMLElement* const root = document.RootElement();
  if (root == nullptr || std::string(root->Name()) != "ListBucketResult") {
    return absl::DataLossError("a list has no ListBucketResult");
  }
  ListedPage page;
  for (const XMLElement* at = root->FirstChildElement("Contents"); at != nullptr;
       at = at->NextSiblingElement("Contents")) {
    page.keys.push_back(TextOf(*at, "Key"));
  }
  for (const XMLElement* at = root->FirstChildElement("CommonPrefixes"); at != nullptr;
       at = at->NextSiblingElement("CommonPrefixes")) {
    page.prefixes.push_back(TextOf(*at, "Prefix"));
  }
  if (TextOf(*root, "IsTruncated") != "true") return page;
  page.next = TextOf(*root, "NextContinuationToken");
  if (page.next.empty()) return absl::DataLossError("a list says that there is more, and not where");
  return page;
}

S3Error ParseError(const std::string& xml) {
  tinyxml2::XMLDocument document;
  if (document.Parse(xml.data(), xml.size()) != tinyxml2::XML_SUCCESS) return {};
  const XMLElement* const root = document.RootElement();
  if (root == nullptr || std::string(root->Name()) != "Error") return {};
  return {TextOf(*root, "Code"), TextOf(*root, "Message")};
}

bool IsTransient(int status, const std::string& code) {
  static constexpr std::array kCodes = {"SlowDown",         "RequestTimeout",
                                        "OperationAborted", "ConditionalRequestConflict",
                                        "InternalError",    "ServiceUnavailable"};
  return status == 429 || status == 500 || status == 502 || status == 503 || status == 504 || IsOneOf(code, kCodes);
}

bool IsOfOldKeys(int status, const std::string& code) {
  static constexpr std::array kCodes = {"ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch",
                                        "TokenRefreshRequired"};
  return status == 401 || IsOneOf(code, kCodes);
}

}  // namespace longtake::server
