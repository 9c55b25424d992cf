#include "server/access/certificate.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <vector>

#include "server/access/plain_name.h"

namespace longtake::server {
namespace {

// All values of one kind in a name, as UTF-8.
std::vector<std::string> Values(const X509_NAME* name, int kind) {
  std::vector<std::string> values;
  for (int at = -1; (at = X509_NAME_get_index_by_NID(name, kind, at)) >= 0;) {
    unsigned char* text = nullptr;
    const int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    if (size >= 0) values.emplace_back(reinterpret_cast<char*>(text), size);
    OPENSSL_free(text);
  }
  return values;
}

}  // namespace

absl::StatusOr<Identity> IdentityOfCertificate(absl::string_view pem) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bytes(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())),
                                                        BIO_free);
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(
      PEM_read_bio_X509(bytes.get(), nullptr, nullptr, nullptr), X509_free);
  ERR_clear_error();  // of this thread, which TLS shares
  if (certificate == nullptr) return absl::InvalidArgumentError("the client's certificate cannot be parsed");
  const X509_NAME* subject = X509_get_subject_name(certificate.get());
  const std::vector<std::string> tenants = Values(subject, NID_organizationName);
  const std::vector<std::string> names = Values(subject, NID_commonName);
  if (tenants.size() != 1 || !IsPlainName(tenants[0])) {
    return absl::InvalidArgumentError(
        "the client's certificate does not have one organisation (O), which is the tenant");
  }
  if (names.size() > 1 || (!names.empty() && !IsPlainName(names[0]))) {
    return absl::InvalidArgumentError("the client's certificate has several common names (CN), or one that is no name");
  }
  return Identity{.tenant = {tenants[0]}, .name = names.empty() ? "" : names[0]};
}

}  // namespace longtake::server
