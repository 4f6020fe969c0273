# Turns the finished image into a Compute Engine image: uploads the archive of
# disk.raw to Cloud Storage, creates the image.
#
#   make image
#   packer build -var project=my-project -var bucket=my-bucket \
#     -var account_file=key.json packer/google.pkr.hcl

variable "image" {
  type        = string
  default     = "out/ringfence.gce.tar.gz"
  description = "The archive that make image wrote."
}

variable "name" {
  type        = string
  default     = "ringfence"
  description = "Name of the image; it must not exist yet."
}

variable "project" {
  type = string
}

variable "bucket" {
  type        = string
  description = "Cloud Storage bucket for the upload; the object is removed afterwards."
}

variable "account_file" {
  type        = string
  description = "JSON key of a service account."
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
    post-processor "googlecompute-import" {
      account_file      = var.account_file
      project_id        = var.project
      bucket            = var.bucket
      gcs_object_name   = "${var.name}.tar.gz"
      image_name        = var.name
      image_family      = "ringfence"
      image_description = "Ringfence PBX and SBC"
      image_guest_os_features = [
        "UEFI_COMPATIBLE",
        "VIRTIO_SCSI_MULTIQUEUE",
        "GVNIC",
      ]
    }
  }
}
