# Turns the finished image into an AMI: uploads ringfence.raw to S3, imports
# it, registers it. Credentials come from the usual AWS environment variables
# or profile, never from this file. The account needs the role "vmimport".
#
#   make image
#   packer build -var bucket=my-bucket packer/amazon.pkr.hcl

variable "image" {
  type        = string
  default     = "out/ringfence.raw"
  description = "The raw image that make image wrote."
}

variable "name" {
  type        = string
  default     = "ringfence"
  description = "Name of the AMI; it must not exist yet."
}

variable "region" {
  type    = string
  default = "eu-central-1"
}

variable "bucket" {
  type        = string
  description = "S3 bucket in that region for the upload; the object is removed afterwards."
}

variable "role" {
  type        = string
  default     = "vmimport"
  description = "IAM role that lets the import service read the bucket."
}

source "null" "finished" {
  communicator = "none"
}

build {
  sources = ["source.null.finished"]

  post-processors {
    post-processor "artifice" {
      files = [var.image]
    }
    post-processor "amazon-import" {
      region          = var.region
      s3_bucket_name  = var.bucket
      s3_key_name     = "${var.name}.raw"
      role_name       = var.role
      format          = "raw"
      license_type    = "BYOL"
      ami_name        = var.name
      ami_description = "Ringfence PBX and SBC"
      ami_encrypt     = true
      tags = {
        Name = var.name
      }
    }
  }
}
