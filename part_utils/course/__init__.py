"""Where the course's machinery was before it moved to `coursekit`: the settings of older class folders name it."""
